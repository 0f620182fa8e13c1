"""`streamd test`: run the tests that stand in configuration files, and say what differs."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from streamd import exits
from streamd.settings import SettingsError
from streamd.telemetry import logs
from streamd.testing.scenarios import Mismatch, Script, judge, read, run

_LOG_LINES = 20


def test(files: Sequence[Path], only: str) -> int:
    """Run every test of the files whose name holds `only`; a line for each that passes."""
    scripts, status = _read(files)
    chosen = [(file, script) for file, script in scripts if only in script.scenario.name]
    if status != exits.OK:
        return status
    if not chosen:
        what = f'holds "{only}" in its name' if only else "was found: write tables [[test]]"
        print(f"no test {what}", file=sys.stderr)
        return exits.FAILED
    failed = sum(not _passes(file, script) for file, script in chosen)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return exits.FAILED if failed else exits.OK


def _read(files: Sequence[Path]) -> tuple[list[tuple[Path, Script]], int]:
    scripts: list[tuple[Path, Script]] = []
    status = exits.OK
    for file in files:
        try:
            scripts += [(file, script) for script in read(file)]
        except SettingsError as error:
            print(error, file=sys.stderr)
            status = exits.CONFIG
    return scripts, status


def _passes(file: Path, script: Script) -> bool:
    log = io.StringIO()
    logs.configure(level="warning", form="console", stream=log)
    mismatches = judge(script, run(script))
    if not mismatches:
        print(f"ok      {file}: {script.scenario.name}")
        return True
    print(f"FAILED  {file}: {script.scenario.name}")
    for line in _report(mismatches, log.getvalue().splitlines()):
        print(f"        {line}".rstrip())
    return False


def _report(mismatches: Sequence[Mismatch], log: Sequence[str]) -> Iterator[str]:
    for mismatch in mismatches:
        yield f"{mismatch.where}: {mismatch.message}"
        yield from (f"  {line}" for line in mismatch.lines)
    if log:
        yield "log:"
        yield from (f"  {line}" for line in log[-_LOG_LINES:])
