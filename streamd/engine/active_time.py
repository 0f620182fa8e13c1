"""The time in which steps may be idle: it stands still while events are held back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class ActiveTime:
    """Seconds in which the sources were read; `now` is what steps are told in `tick`."""

    def __init__(self) -> None:
        self.now = 0.0
        self._holding: set[str] = set()
        self._looked = anyio.current_time()

    def advance(self) -> float:
        """The time by now."""
        now = anyio.current_time()
        if not self._holding:
            self.now += now - self._looked
        self._looked = now
        return self.now

    def skip(self) -> None:
        """Back-pressure has held the sources since the last call: no step has been idle for it."""
        self._looked = anyio.current_time()

    def end(self) -> None:
        """Nothing more will come: no step need wait."""
        self.now = math.inf

    @contextmanager
    def held_back(self, source: str) -> Iterator[None]:
        """Meanwhile a source has events in hand that it cannot let in."""
        self.advance()
        self._holding.add(source)
        try:
            yield
        finally:
            self.advance()
            self._holding.discard(source)
