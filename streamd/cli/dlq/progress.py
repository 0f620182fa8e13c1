"""How far a command has come, on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_WIDTH = 30
_EVERY = 0.2


class Progress:
    """A line on standard error that is written over; nothing where that is no terminal."""

    def __init__(self, total: int | None, out: TextIO | None = None) -> None:
        self._out = sys.stderr if out is None else out
        self._total = total
        self._started = time.monotonic()
        self._drawn = 0.0
        self._shown = self._out.isatty()

    def at(self, done: int, note: str = "") -> None:
        """So many are done."""
        now = time.monotonic()
        if self._shown and now - self._drawn >= _EVERY:
            self._drawn = now
            self._out.write("\r" + bar(done, self._total, now - self._started, note) + "\x1b[K")
            self._out.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            self._out.write("\r\x1b[K")
            self._out.flush()


def bar(done: int, total: int | None, elapsed: float, note: str = "") -> str:
    """One line: `[#####     ] 120/240  60/s  2 s left`."""
    rate = done / elapsed if elapsed > 0 else 0.0
    text = f"{done}" if not total else f"{done}/{total}"
    if total:
        filled = min(_WIDTH, _WIDTH * done // total)
        text = f"[{'#' * filled}{' ' * (_WIDTH - filled)}] {text}"
        if rate > 0:
            note = f"{max(0, round((total - done) / rate))} s left  {note}"
    return f"{text}  {rate:.0f}/s  {note}".rstrip()
