"""Offsets that no event has had before, whatever the clock does.

A sink may take an offset that it has seen for a repetition and leave the event out. Offsets start
at the wall clock in microseconds, so that a restart goes on above the last run; and as a clock
may be set back, a file holds the bound that no run has passed yet.
"""

from __future__ import annotations

import os
from pathlib import Path

from streamd.api import Clock, Misconfigured

_BLOCK = 3_600_000_000
"""Offsets reserved at once: an hour of the clock, so that the file is written very seldom."""


class Offsets:
    """Ascending, without gaps. `open` before the first `take`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._next = 0
        self._reserved = 0

    def open(self) -> None:
        """Raises Misconfigured if the file cannot be read or written."""
        self._next = max(self._clock.now_ms() * 1000, self._last_reserved())
        self._reserve()

    def take(self, count: int) -> range:
        """The next offsets."""
        first = self._next
        self._next += count
        if self._next > self._reserved:
            self._reserve()
        return range(first, self._next)

    def _last_reserved(self) -> int:
        try:
            return int(self._path.read_text())
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            raise Misconfigured(f"{self._path}: {error}") from error

    def _reserve(self) -> None:
        self._reserved = self._next + _BLOCK
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("w") as file:
                file.write(str(self._reserved))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            raise Misconfigured(f"{self._path}: {error}") from error
