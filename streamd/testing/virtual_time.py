"""An event loop whose time jumps to the next timer as soon as nothing else is left to do.

Code under test waits, retries and times out as in production, and a test of an hour takes
milliseconds. Use it as the anyio backend of a test:

    @pytest.fixture
    def anyio_backend():
        return "asyncio", {"loop_factory": VirtualTimeLoop}
"""

from __future__ import annotations

import asyncio
import selectors
import threading

_THREAD_GRACE = 0.002
"""Real seconds for a worker thread to answer before time jumps."""


class _JumpingSelector(selectors.DefaultSelector):
    """Does not wait for a timer: moves the loop's time there."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        found = super().select(_THREAD_GRACE if threading.active_count() > 1 else 0)
        if not found:
            self.loop.jump(timeout)
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at 0 seconds; `wall_ms` is the wall clock that belongs to it."""

    def __init__(self) -> None:
        self._virtual = 0.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._virtual

    def jump(self, seconds: float) -> None:
        self._virtual += seconds


class LoopClock:
    """Wall-clock time that goes with the running loop's: real or virtual."""

    def __init__(self, start_ms: int = 1_763_548_200_000) -> None:
        self._start_ms = start_ms

    def now_ms(self) -> int:
        return self._start_ms + round(asyncio.get_running_loop().time() * 1000)
