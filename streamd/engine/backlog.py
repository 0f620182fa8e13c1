"""Keeping `dlq_backlog_size` true."""

from __future__ import annotations

import asyncio
import math

import anyio
import structlog

from streamd.api import Backlog
from streamd.engine.build import Parts
from streamd.engine.plan import dead_letter_streams
from streamd.engine.slot import Slot

_EVERY = 30.0


async def watch_backlog(parts: Parts) -> None:
    """Count the named store now and then; one that cannot be counted now is counted later.

    There is a figure only where one is known: a store that cannot be counted, such as a topic, is
    no empty one. Without a store there are no dead letters.
    """
    spec = parts.stages.spec
    metrics = parts.around.telemetry.pipeline(spec.name)
    while True:
        try:
            metrics.backlog(await _count(parts))
        except (Exception, asyncio.CancelledError) as error:
            if anyio.current_effective_deadline() == -math.inf:
                raise
            # A gauge is no reason to stop, and the last figure is better than none.
            log = structlog.get_logger().bind(pipeline=spec.name)
            log.debug("Cannot count the dead letters", error=str(error))
        await anyio.sleep(_EVERY)


async def _count(parts: Parts) -> int | None:
    stores = _stores(parts)
    if not stores:
        return 0
    slot = next((slot for slot in stores if isinstance(slot.sink, Backlog)), None)
    return None if slot is None else await slot.backlog()


def _stores(parts: Parts) -> list[Slot]:
    """The slots of the sinks that could be counted: the one that is named, or all readers."""
    spec, slots = parts.stages.spec, parts.wiring.slots
    if spec.options.backlog:
        return [slots[spec.options.backlog]]
    streams = dead_letter_streams(spec)
    return [slots[sink.id] for sink in spec.sinks if streams & set(sink.inputs)]
