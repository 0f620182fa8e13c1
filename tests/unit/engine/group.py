"""A consumer group in memory: its members, the checkpoint store of each, and a window."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Self

import anyio
import anyio.lowlevel
import msgspec

from streamd.api import Batch, Committed, Span, StageContext
from streamd.engine.ledger import Cut
from streamd.testing.memory import MemoryStore, MemoryTopic

WINDOW = 10


class Group:
    """Who owns which partition, and the offsets that the group has committed.

    `lag` is how long the broker takes for the next commit, in seconds.
    """

    def __init__(self, topic: MemoryTopic, lag: Callable[[], float]) -> None:
        self.topic = topic
        self.lag = lag
        self.owner: dict[str, Member | None] = dict.fromkeys(topic.records)

    def done(self, stores: Collection[WatchedStore]) -> bool:
        """Whether every event is behind a commit, or a checkpoint that its owner resumes from."""
        return all(
            len(records) == max(self._committed(name), *(s.position(name) for s in stores))
            for name, records in self.topic.records.items()
        )

    def _committed(self, partition: str) -> int:
        known = self.topic.committed.get(partition)
        return known.position if known is not None else 0

    def give(self, partition: str, member: Member) -> None:
        self.owner[partition] = member
        member.pending.add(partition)


class Member:
    """A source in a group. It fences itself as little as it can: that is the engine's work."""

    resumes = True

    def __init__(self, group: Group, context: StageContext) -> None:
        assert context.control is not None
        self.group = group
        self.control = context.control
        self.pending: set[str] = set()
        self.positions: dict[str, int] = {}
        self.ours: set[str] = set()
        self.faults: list[str] = []
        self._telling = anyio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        return None

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        async with self._telling:
            if new := {name for name in self.pending if self.group.owner[name] is self}:
                self.pending -= new
                self.ours |= new
                known = {name: self.group.topic.committed.get(name) for name in new}
                found = await self.control.assigned(known)
                self.positions |= {name: found[name] or 0 for name in new}
        await anyio.lowlevel.checkpoint()
        batches = [self._read(name, max_events) for name in self.positions if self._left(name)]
        if not batches:
            await anyio.sleep(timeout)
        return batches

    def _left(self, partition: str) -> int:
        return len(self.group.topic.records[partition]) - self.positions[partition]

    def _read(self, partition: str, most: int) -> Batch:
        first = self.positions[partition]
        raws = self.group.topic.records[partition][first : first + most]
        offsets = range(first, first + len(raws))
        self.positions[partition] = offsets.stop
        return Batch.of_raws(raws, partition=partition, offsets=offsets, timestamps=offsets)

    async def commit(self, positions: Mapping[str, int], tag: str) -> None:
        if foreign := positions.keys() - self.ours:
            self.faults.append(f"commits {foreign}, which was taken away")
        await anyio.sleep(self.group.lag())
        for name, position in positions.items():
            if self.group.owner[name] is self:
                self.group.topic.committed[name] = Committed(position, tag)

    async def revoke(self, partition: str) -> None:
        """The group waits for us before it gives the partition to another."""
        async with self._telling:
            self.pending.discard(partition)
            if partition in self.positions:
                await self.control.revoking([partition])
                self._forget(partition)

    async def lose(self, partition: str) -> None:
        """It is another's already."""
        async with self._telling:
            self.pending.discard(partition)
            if partition in self.positions:
                await self.control.lost([partition])
                self._forget(partition)

    def _forget(self, partition: str) -> None:
        self.positions.pop(partition)
        self.ours.discard(partition)


class WatchedStore(MemoryStore):
    """Notes each checkpoint that holds anything of a partition that is not ours."""

    def __init__(self, name: str, lag: Callable[[], float]) -> None:
        super().__init__(name)
        self.lag = lag
        self.member: Member | None = None
        self.faults: list[str] = []

    def position(self, partition: str) -> int:
        """Where the pipeline resumes the partition."""
        return self.positions_of.get("test", {}).get("in", {}).get(partition, 0)

    async def save(self, pipeline: str, epoch: int, cut: Cut, *more: Any) -> None:
        assert self.member is not None
        saved = {p for positions in cut.positions.values() for p in positions}
        saved |= {change[-3] for change in cut.changes}
        if foreign := saved - self.member.ours:
            self.faults.append(f"checkpoints {foreign}, which was taken away")
        await anyio.sleep(self.lag())
        await super().save(pipeline, epoch, cut, *more)


class SumWindow:
    """Sums every ten events of a partition."""

    def __init__(self, _context: Any) -> None:
        self._open: dict[str, tuple[int, int]] = {}
        self._touched: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        return None

    def process(self, batch: Batch) -> Iterable[Batch]:
        (span,) = batch.spans
        name = span.partition
        count, total = self._open[name]
        results = []
        for value, offset in zip(batch.values, batch.offsets, strict=True):
            count, total = count + 1, total + value["n"]
            if count == WINDOW:
                results.append((offset, {"window": f"{name}/{offset}", "total": total}))
                count, total = 0, 0
        self._open[name] = (count, total)
        self._touched.add(name)
        if results:
            offsets = [offset for offset, _ in results]
            rows = [row for _, row in results]
            where = Span(f"w:{name}", offsets[0], offsets[-1] + 1, len(offsets))
            yield Batch(rows, offsets=offsets, timestamps=offsets, spans=[where])

    def assign(self, partitions: Collection[str], rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        self._open |= dict.fromkeys(partitions, (0, 0))
        for partition, _, value in rows:
            self._open[partition] = msgspec.msgpack.decode(value, type=tuple[int, int])

    def revoke(self, partitions: Collection[str]) -> None:
        for partition in partitions:
            self._open.pop(partition, None)
            self._touched.discard(partition)

    def take_changes(self) -> Sequence[tuple[str, bytes, bytes | None]]:
        touched, self._touched = sorted(self._touched), set()
        return [(name, b"open", msgspec.msgpack.encode(self._open[name])) for name in touched]
