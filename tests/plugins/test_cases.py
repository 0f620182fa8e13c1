"""Every golden case of every plugin, through a whole pipeline."""

from pathlib import Path

import pytest

from streamd.testing.cases import expected_of, run_case

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("*/cases/*/streamd.toml"))


@pytest.mark.parametrize("folder", CASES, ids=lambda path: str(path.relative_to(HERE)))
async def test_case(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    expected = expected_of(folder)
    assert expected, f"{folder} says nothing of what it expects"
    rows = await run_case(folder, tmp_path)
    assert {sink: rows[sink] for sink in expected} == expected


def test_there_are_cases() -> None:
    assert CASES
