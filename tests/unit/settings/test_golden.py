"""Bad configurations and what is said about them, word for word.

Each `cases/<name>.toml` has its errors in `<name>.expected`. To accept new wording, run with
STREAMD_ACCEPT=1 and read the difference.
"""

import os
from pathlib import Path

import pytest

from streamd.settings import SettingsError, load

CASES = Path(__file__).parent / "cases"
ENV = {"PORT": "many", "EMPTY": "", "PASSWORD": "swordfish"}


@pytest.mark.parametrize("case", sorted(CASES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_error_is_told(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES)
    with pytest.raises(SettingsError) as caught:
        load(Path(case.name), ENV)
    told = f"{caught.value}\n"
    expected = case.with_suffix(".expected")
    if os.environ.get("STREAMD_ACCEPT"):
        expected.write_text(told, encoding="utf-8")
    assert told == expected.read_text(encoding="utf-8")
    assert ENV["PASSWORD"] not in told
