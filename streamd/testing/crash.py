"""Killing a program at any await, as a power cut would: nothing is cleaned up.

Every resumption of every task counts as one step. At the given step the loop is torn away; the
coroutines are kept, so that no `finally` of theirs runs either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from streamd.testing.virtual_time import VirtualTimeLoop


class Killed(KeyboardInterrupt):
    """Passes through every `except Exception`, and through the task that it hits."""


_graveyard: list[Any] = []


class _Counted(Coroutine[Any, Any, Any]):
    """A task's coroutine that takes one step off the life left each time it goes on."""

    def __init__(self, inner: Any, life: list[float]) -> None:
        self._inner = inner
        self._life = life

    def send(self, value: Any) -> Any:
        self._life[0] -= 1
        if self._life[0] < 0:
            raise Killed
        return self._inner.send(value)

    def throw(self, *args: Any) -> Any:
        return self._inner.throw(*args)

    def close(self) -> None:
        return None

    def __await__(self) -> Any:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def run_for(steps: float, main: Callable[[], Coroutine[Any, Any, Any]]) -> int | None:
    """Run `main` in virtual time for so many steps of all its tasks together.

    Returns the number of steps that it took to end, or None if it was killed. An error of `main`
    is raised.
    """
    loop = VirtualTimeLoop()
    life = [float(steps)]
    tasks: list[asyncio.Task[Any]] = []

    def make_task(
        loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> asyncio.Task[Any]:
        _graveyard.append(coroutine)
        task: asyncio.Task[Any] = asyncio.Task(_Counted(coroutine, life), loop=loop, **options)
        tasks.append(task)
        return task

    loop.set_task_factory(make_task)
    try:
        loop.run_until_complete(main())
    except Killed:
        return None
    finally:
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        _graveyard.extend(tasks)
        asyncio.set_event_loop(None)
        loop.close()
    return round(steps - life[0])
