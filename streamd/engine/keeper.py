"""Stages held open, each in a task of its own, so that any of them can be closed by itself.

A stage may open task groups and cancel scopes; those have to be closed in the task that opened
them, and in the reverse order within it.
"""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

from streamd.engine.guard import guarded


class NotOpenedError(Exception):
    """A stage was not open in time, or the pipeline ended before it was."""


@dataclass(slots=True)
class _Held:
    stage: Any
    entering: anyio.CancelScope
    entered: bool = False
    closing: anyio.Event = field(default_factory=anyio.Event)
    closed: anyio.Event = field(default_factory=anyio.Event)


class Keeper:
    """Opens and closes stages, in tasks of the given group. Only tasks of the pipeline call it."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._held: dict[int, _Held] = {}
        self._ended = False

    async def open(self, stage: Any, within: float = math.inf) -> None:
        """Enter a stage, within so many seconds.

        Raises what its entering raises, or NotOpenedError.
        """
        if self._ended:
            raise NotOpenedError("the pipeline has ended")
        await self._group.start(self._keep, stage, anyio.current_time() + within)

    async def close(self, stage: Any) -> None:
        """Leave a stage, if it is open."""
        held = self._held.get(id(stage))
        if held is not None:
            held.closing.set()
            await held.closed.wait()

    async def close_all(self) -> None:
        """Leave what is open, the last one first. Has to be called, also after a cancellation."""
        self._ended = True
        with anyio.CancelScope(shield=True):
            for held in reversed(list(self._held.values())):
                if not held.entered:
                    held.entering.cancel()
                await self.close(held.stage)

    async def _keep(self, stage: Any, by: float, *, task_status: TaskStatus[None]) -> None:
        held = self._held[id(stage)] = _Held(stage, anyio.CancelScope(deadline=by))
        try:
            await guarded(partial(self._hold, held, task_status))
        finally:
            del self._held[id(stage)]
            held.closed.set()

    async def _hold(self, held: _Held, task_status: TaskStatus[None]) -> None:
        try:
            async with AsyncExitStack() as stack:
                with held.entering:
                    await stack.enter_async_context(held.stage)
                    held.entered = True
                if not held.entered:
                    raise NotOpenedError(f"{type(held.stage).__name__} did not open in time")
                task_status.started()
                # A stage is not left while it may still be called: its time comes in close.
                with anyio.CancelScope(shield=True):
                    await held.closing.wait()
        except Exception as error:
            if not held.closing.is_set():
                raise
            # All that it was given has been answered: how it ends is no reason to fail.
            structlog.get_logger().warning(
                "A stage did not close in good order",
                stage=type(held.stage).__name__,
                error=str(error) or repr(error),
            )
