"""The worked example of a plugin of one's own runs."""

from pathlib import Path

import pytest

from streamd.testing.cases import expected_of, run_case

EXAMPLE = Path(__file__).resolve().parents[3] / "config" / "examples" / "custom-plugin"


async def test_the_custom_plugin_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    assert await run_case(EXAMPLE, tmp_path) == expected_of(EXAMPLE)
