"""Every configuration that is shipped can be loaded; the worked example of a plugin runs."""

import re
import tomllib
from pathlib import Path

import pytest

from streamd.settings import SettingsError, load
from streamd.testing.cases import expected_of, run_case

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "config" / "examples" / "custom-plugin"
SHIPPED = [
    path
    for pattern in ("*.toml", "config/examples/**/*.toml", "plugins/*/samples/*.toml")
    for path in sorted(ROOT.glob(pattern))
    if "pipeline" in tomllib.loads(path.read_text("utf-8"))
]
ENV = {"CLICKHOUSE_URL": "clickhouse://127.0.0.1:9000/wotr"}


def needed(text: str) -> dict[str, str]:
    """A value for each variable and secret that a file asks for without a default."""
    names = re.findall(r"\$\{(\w+)(?::\?[^}]*)?\}|@\{env:(\w+)\}", text)
    return {one or other: "x" for one, other in names}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_shipped_configuration_loads(path: Path) -> None:
    """A sample may be a part of a pipeline: then only what it lacks is wrong with it."""
    try:
        load(path, needed(path.read_text("utf-8")) | ENV)
        wrong = []
    except SettingsError as error:
        part = "required: a pipeline has a "
        wrong = [str(one) for one in error.problems if not one.message.startswith(part)]
    assert wrong == []


async def test_the_custom_plugin_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    assert await run_case(EXAMPLE, tmp_path) == expected_of(EXAMPLE)
