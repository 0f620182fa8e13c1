"""Keeping `dlq_backlog_size` true."""

from __future__ import annotations

import asyncio
import math

import anyio
import structlog

from streamd.api import DEAD_LETTERS, Backlog
from streamd.engine.build import Parts
from streamd.engine.slot import Slot

_EVERY = 30.0


async def watch_backlog(parts: Parts) -> None:
    """Count the named store now and then; one that cannot be counted now is counted later."""
    spec = parts.stages.spec
    metrics = parts.around.telemetry.pipeline(spec.name)
    while True:
        counted = _counted(parts)
        if counted is not None:
            try:
                metrics.backlog.set(await counted.backlog() or 0)
            except (Exception, asyncio.CancelledError) as error:
                if anyio.current_effective_deadline() == -math.inf:
                    raise
                # A gauge is no reason to stop.
                log = structlog.get_logger().bind(pipeline=spec.name)
                log.debug("Cannot count the dead letters", error=str(error))
        await anyio.sleep(_EVERY)


def _counted(parts: Parts) -> Slot | None:
    spec, slots = parts.stages.spec, parts.wiring.slots
    readers = [sink.id for sink in spec.sinks if DEAD_LETTERS in sink.inputs]
    named = [spec.options.backlog] if spec.options.backlog else readers
    return next((slots[name] for name in named if isinstance(slots[name].sink, Backlog)), None)
