"""Stages held open, each in a task of its own, so that any of them can be closed by itself.

A stage may open task groups and cancel scopes; those have to be closed in the task that opened
them, and in the reverse order within it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus

from streamd.engine.guard import guarded


class Keeper:
    """Opens and closes stages, in tasks of the given group."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._closing: dict[int, tuple[anyio.Event, anyio.Event]] = {}
        self._open: list[Any] = []

    async def open(self, stage: Any) -> None:
        """Enter a stage. Raises what its entering raises."""
        await self._group.start(self._keep, stage)
        self._open.append(stage)

    async def close(self, stage: Any) -> None:
        """Leave a stage. An error of the leaving ends the group."""
        closing, closed = self._closing[id(stage)]
        closing.set()
        await closed.wait()
        self._open.remove(stage)

    async def close_all(self) -> None:
        """Leave what is open, the last one first. Has to be called, also after a cancellation."""
        with anyio.CancelScope(shield=True):
            for stage in reversed(self._open.copy()):
                await self.close(stage)

    async def _keep(self, stage: Any, *, task_status: TaskStatus[None]) -> None:
        await guarded(partial(self._hold, stage, task_status))

    async def _hold(self, stage: Any, task_status: TaskStatus[None]) -> None:
        closing, closed = anyio.Event(), anyio.Event()
        try:
            async with stage:
                self._closing[id(stage)] = (closing, closed)
                task_status.started()
                # A stage is not left while it may still be called: its time comes in close.
                with anyio.CancelScope(shield=True):
                    await closing.wait()
        finally:
            closed.set()
