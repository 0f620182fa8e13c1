"""Against cancellations that nobody asked for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio


async def guarded(run: Callable[[], Awaitable[Any]]) -> None:
    """Run a part of the pipeline that must not end without a word.

    A CancelledError that no scope of ours asked for (a library awaited a cancelled future, or
    cancelled the task that it ran in) would end a task group as if all were well.

    Raises RuntimeError in its place.
    """
    try:
        await run()
    except asyncio.CancelledError as error:
        if anyio.current_effective_deadline() == -math.inf:
            raise
        raise RuntimeError("a library cancelled a task of the pipeline") from error
