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
from anyio.abc import TaskGroup

from streamd.engine.guard import guarded

_CLOSES_WITHIN = 60.0
"""Seconds for a stage to close; then it is cancelled, so that it holds up no reload and no end."""

_HEEDS_WITHIN = 5.0
"""Seconds for one that is cancelled to heed it; then nobody waits for it any more."""


class NotOpenedError(Exception):
    """A stage was not open in time, or the pipeline ended before it was."""


@dataclass(slots=True)
class _Held:
    stage: Any
    entering: anyio.CancelScope
    entered: bool = False
    error: Exception | None = None
    opened: anyio.Event = field(default_factory=anyio.Event)
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
        held = _Held(stage, anyio.CancelScope(deadline=anyio.current_time() + within))
        self._held[id(stage)] = held
        # Not `group.start`: it waits under a shield for a task that has started already, and the
        # task waits under its own for its time to close.
        self._group.start_soon(self._keep, held)
        try:
            await held.opened.wait()
        except BaseException:
            held.entering.cancel()
            held.closing.set()
            with anyio.CancelScope(shield=True):
                await held.closed.wait()
            raise
        if held.error is not None:
            raise held.error

    async def close(self, stage: Any) -> None:
        """Leave a stage, if it is open. One that does not end is left behind after a while."""
        held = self._held.get(id(stage))
        if held is not None:
            held.closing.set()
            with anyio.move_on_after(_CLOSES_WITHIN + _HEEDS_WITHIN) as in_time:
                await held.closed.wait()
            if in_time.cancelled_caught:
                _log_late(stage, "it is left behind, and the pipeline cannot end without it")

    async def close_all(self) -> None:
        """Leave what is open, the last one first. Has to be called, also after a cancellation."""
        self._ended = True
        with anyio.CancelScope(shield=True):
            for held in reversed(list(self._held.values())):
                if not held.entered:
                    held.entering.cancel()
                await self.close(held.stage)

    async def _keep(self, held: _Held) -> None:
        try:
            await guarded(partial(self._hold, held))
        except Exception as error:
            if held.entered:
                raise
            held.error = error
        finally:
            del self._held[id(held.stage)]
            held.opened.set()
            held.closed.set()

    async def _hold(self, held: _Held) -> None:
        try:
            with anyio.CancelScope() as leaving:
                await self._stay(held, leaving)
            if leaving.cancelled_caught:
                _log_late(held.stage, "it was cancelled")
        except Exception as error:
            if not held.entered or not held.closing.is_set():
                raise
            # All that it was given has been answered: how it ends is no reason to fail.
            structlog.get_logger().warning(
                "A stage did not close in good order",
                stage=type(held.stage).__name__,
                error=str(error) or repr(error),
            )

    async def _stay(self, held: _Held, leaving: anyio.CancelScope) -> None:
        """Enter a stage, wait for its time to close, and leave it."""
        async with AsyncExitStack() as stack:
            with held.entering:
                await stack.enter_async_context(held.stage)
                held.entered = True
            if not held.entered:
                raise NotOpenedError(f"{type(held.stage).__name__} did not open in time")
            held.opened.set()
            # A stage is not left while it may still be called: its time comes in close.
            with anyio.CancelScope(shield=True):
                await held.closing.wait()
            leaving.deadline = anyio.current_time() + _CLOSES_WITHIN


def _log_late(stage: Any, what: str) -> None:
    structlog.get_logger().warning(
        f"A stage does not close; {what}",
        stage=type(stage).__name__,
        seconds=_CLOSES_WITHIN,
    )
