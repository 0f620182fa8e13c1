"""Waking one task from another."""

from __future__ import annotations

import math

import anyio


class Signal:
    """A latch: `set` wakes whoever waits, or lets the next wait return at once."""

    def __init__(self) -> None:
        self._set = False
        self._event = anyio.Event()

    def set(self) -> None:
        self._set = True
        self._event.set()

    async def wait(self, timeout: float = math.inf) -> bool:
        """Whether the signal came within `timeout` seconds. Resets it."""
        if not self._set:
            with anyio.move_on_after(timeout):
                await self._event.wait()
        came, self._set = self._set, False
        if self._event.is_set():
            self._event = anyio.Event()
        return came
