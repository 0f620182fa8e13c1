"""The garbage collector as this daemon needs it.

Nearly all is freed as soon as nobody needs it; what stands in a circle is not. The interpreter
looks for circles by the number of objects, and a few that hold megabytes are no reason for it. So
memory itself is watched here, and a collection is made when it has grown.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from resource import getpagesize

import anyio
import structlog

_GROWTH_LEAST = 64 * 1024 * 1024
_GROWTH_SHARE = 4
"""Growth by a fourth, and by 64 MiB at least, is a reason to collect."""

_LOOK_EVERY = 1.0  # seconds
_PAUSE = 100
"""Times that a collection has taken before the next look: it never costs more than a hundredth."""

_FORGETS_IN = 3600
"""Looks. What comes and goes, such as the state of windows, is no reason to collect each time that
it has come, and one day of much traffic none to let garbage heap up to there for ever."""


def settle() -> None:
    """What was made until now lives as long as the daemon: no collection need look at it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


async def watch() -> None:
    """Collect whenever memory has grown, until cancelled. Returns where it cannot be measured."""
    if resident() is None:
        return
    watched = Watched(lambda: resident() or 0)
    while True:
        started = time.perf_counter()
        collected = watched.look()
        took = time.perf_counter() - started
        if collected:
            structlog.get_logger().debug("Collected garbage", seconds=round(took, 4))
        await anyio.sleep(max(_LOOK_EVERY, _PAUSE * took))


class Watched:
    """Memory in use, compared with what the last collection has left."""

    def __init__(
        self, resident: Callable[[], int], collect: Callable[[], object] = gc.collect
    ) -> None:
        self._resident = resident
        self._collect = collect
        self._left: float = resident()

    def look(self) -> bool:
        """Collect if it is time to. Returns whether it was."""
        growth = self._resident() - self._left
        if growth < 0:
            self._left += growth / _FORGETS_IN
        if growth <= max(_GROWTH_LEAST, self._left / _GROWTH_SHARE):
            return False
        self._collect()
        self._left = self._resident()
        return True


def resident() -> int | None:
    """Bytes of memory that this process occupies now; None where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()
    except (OSError, ValueError, IndexError):
        return None
