"""One sink's place in a pipeline: a queue that never blocks its writers, and the task that writes.

The queue is bounded by the gate in front of the sources (`full`), not by `put`: a dead letter or
the rest of a batch must always find room.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import anyio

from streamd.api import (
    Backlog,
    Batch,
    BatchLimits,
    Codec,
    Prepares,
    Rejected,
    Sink,
    merge,
    preparing,
)
from streamd.engine.failure import Resolver
from streamd.engine.ledger import Ledger
from streamd.engine.preparation import until_ready
from streamd.engine.signal import Signal
from streamd.telemetry.metrics import StageMetrics

_LEAST_CAPACITY = 10_000


class Item(NamedTuple):
    """A batch in a slot: the epochs that wait for it, its bytes, when it came (loop time)."""

    batch: Batch
    epochs: Sequence[int]
    size: int
    came: float


class Slot:
    """Queue and writer of one sink."""

    def __init__(
        self,
        sink: Sink,
        codec: Codec | None = None,
        *,
        limits: BatchLimits,
        resolver: Resolver,
        ledger: Ledger,
        progressed: Callable[[], None],
        metrics: StageMetrics,
    ) -> None:
        self.sink = sink
        self.limits = limits
        self.resolver = resolver
        self._asking = preparing(codec)
        self._ledger = ledger
        self._progressed = progressed
        self._metrics = metrics
        self._queue: deque[Item] = deque()
        self._rows = 0
        self._bytes = 0
        self._capacity = max(2 * limits.rows, _LEAST_CAPACITY)
        self._arrived = Signal()
        self._hurry = False
        self._hurried = 0
        self._in_use = anyio.Lock()
        self._writing = anyio.CancelScope()
        self._living = anyio.CancelScope()
        self._left = Signal()
        self.written = 0

    @property
    def full(self) -> bool:
        return self._rows >= self._capacity

    @property
    def rows(self) -> int:
        return self._rows

    def put(self, batch: Batch, epochs: Sequence[int]) -> None:
        """Take a batch over; the epochs are `sent` before this returns."""
        for epoch in epochs:
            self._ledger.sent(epoch)
        size = batch.size
        if min(epochs, default=0) <= self._hurried:
            self._hurry = True
        self._queue.append(Item(batch, epochs, size, anyio.current_time()))
        self._rows += len(batch)
        self._bytes += size
        self._arrived.set()

    def flush(self, upto: int) -> None:
        """Write what is there without waiting for more, and so all that comes of epochs `upto`.

        A dead letter of an epoch may come long after its events were flushed.
        """
        self._hurried = max(self._hurried, upto)
        if self._queue:
            self._hurry = True
            self._arrived.set()

    async def refit(
        self, sink: Sink, codec: Codec | None, limits: BatchLimits, resolver: Resolver
    ) -> None:
        """Go on with another sink, or another way with failures; the queue stays.

        What is being written is begun again. Returns once the old sink is left alone.
        """
        self.sink, self.limits, self.resolver = sink, limits, resolver
        self._asking = preparing(codec)
        self._capacity = max(2 * limits.rows, _LEAST_CAPACITY)
        self._writing.cancel()
        async with self._in_use:
            pass

    async def until_empty(self) -> None:
        """Wait until everything is written; nothing may be put any more."""
        while self._rows:
            self.flush(self._hurried)
            await self._left.wait()

    def stop(self) -> None:
        """End the writer of an empty slot."""
        self._living.cancel()

    def abandon(self) -> None:
        """Let go of what is still queued: it is read again, and a life that is over, which is a web
        of circles, would hold it until a garbage collection."""
        self._queue.clear()

    async def run(self) -> None:
        """Write until stopped. Raises what the resolver raises."""
        with self._living:
            while True:
                items = await self._gather()
                while not await self._attempt(items):
                    self.resolver.health.well()

    async def _attempt(self, items: list[Item]) -> bool:
        """Deliver, unless the slot is refitted meanwhile."""
        with anyio.CancelScope() as self._writing:
            await self._deliver(items)
        self._left.set()
        return not self._writing.cancelled_caught

    async def _gather(self) -> list[Item]:
        while not self._queue:
            await self._arrived.wait()
        deadline = self._queue[0].came + self.limits.time
        while not (self._hurry or self._enough()):
            remaining = deadline - anyio.current_time()
            if remaining <= 0:
                break
            await self._arrived.wait(remaining)
        return self._take()

    def _enough(self) -> bool:
        return self._rows >= self.limits.rows or self._bytes >= self.limits.bytes

    def _take(self) -> list[Item]:
        items: list[Item] = []
        rows = size = 0
        while self._queue:
            item = self._queue[0]
            rows += len(item.batch)
            size += item.size
            if items and (rows > self.limits.rows or size > self.limits.bytes):
                break
            items.append(self._queue.popleft())
        self._hurry = self._hurry and bool(self._queue)
        return items

    async def _deliver(self, items: list[Item]) -> None:
        epochs = sorted({epoch for item in items for epoch in item.epochs})
        batch = merge([item.batch for item in items])
        for piece in _pieces(batch, self.limits):
            if self._asking is not None:
                await self._prepare(self._asking, piece)
            await self.resolver.resolve(piece, epochs, self._write)
        self._metrics.latency.observe(anyio.current_time() - items[0].came)
        self._rows -= len(batch)
        self._bytes -= sum(item.size for item in items)
        for item in items:
            for epoch in item.epochs:
                self._ledger.done(epoch)
        self._progressed()

    async def _prepare(self, asking: Prepares, batch: Batch) -> None:
        """Hold the queue back until the codec can encode these."""
        await until_ready(
            lambda: asking.prepare_to_encode(batch.values),
            _wait,
            rows=len(batch),
            health=self.resolver.health,
            metrics=self._metrics,
            log=self.resolver.log,
        )

    async def _write(self, batch: Batch) -> None:
        async with self._in_use:
            started = anyio.current_time()
            try:
                await self.sink.write(batch)
            except Rejected as error:
                self._wrote(len(batch) - len(error.rows), started)
                if self.resolver.outlet.leaving:
                    self.resolver.outlet.leaves("", batch.without(error.rows))
                raise
        self._wrote(len(batch), started)
        if self.resolver.outlet.leaving:
            self.resolver.outlet.leaves("", batch)

    def _wrote(self, rows: int, started: float) -> None:
        self._metrics.write_duration.observe(anyio.current_time() - started)
        self._metrics.events.inc(rows)
        self.written += rows

    async def backlog(self) -> int | None:
        """How much the sink's store holds, counted between two writes; None if it cannot tell."""
        if not isinstance(self.sink, Backlog):
            return None
        async with self._in_use:
            return await self.sink.backlog()


async def _wait(seconds: float) -> bool:
    await anyio.sleep(seconds)
    return True


def _pieces(batch: Batch, limits: BatchLimits) -> Iterator[Batch]:
    """The batch in writes of at most so many rows and bytes; a row that is larger goes alone."""
    if len(batch) <= limits.rows and batch.size <= limits.bytes:
        yield batch
        return
    raws = batch.raws or [None] * len(batch)
    first = size = 0
    for row, raw in enumerate(raws):
        added = len(raw or b"")
        if row > first and (row - first == limits.rows or size + added > limits.bytes):
            yield batch.take(range(first, row))
            first, size = row, 0
        size += added
    yield batch.take(range(first, len(batch)))
