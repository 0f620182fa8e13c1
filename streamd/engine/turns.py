"""Whose turn it is with the chain and the state of its steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio


class Turns:
    """One at a time, in the order in which they come.

    Once something was left half-done nobody has a turn before the life has ended: what the steps
    hold is neither to be gone on with nor to be stored.
    """

    def __init__(self) -> None:
        self._lock = anyio.Lock()
        self._half_done = False
        self._over = anyio.Event()

    @property
    def taken(self) -> bool:
        """Whether somebody has a turn now."""
        return self._lock.locked()

    def end(self) -> None:
        """The life has ended: who waits may see that for himself."""
        self._over.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and have it."""
        async with self._lock:
            if self._half_done:
                await self._over.wait()
            yield

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Something that is done whole, in a turn, or is half-done."""
        self._half_done = True
        yield
        self._half_done = False
