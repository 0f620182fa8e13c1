"""A source and a sink in memory, and a store: what a pipeline needs to run without any server.

What they hold outlives a pipeline, so that a test can crash one and start the next on it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Self

import anyio
import anyio.lowlevel

from streamd.api import Batch, BatchLimits, Committed, Control, StageContext, partition_name
from streamd.engine.ledger import Cut
from streamd.engine.store import Checkpoint, Positions, StateRow


class MemoryTopic:
    """A partitioned log with committed offsets, like a broker's."""

    def __init__(self, partitions: int = 1, name: str = "events") -> None:
        self.records: dict[str, list[bytes]] = {
            partition_name(name, number): [] for number in range(partitions)
        }
        self.committed: dict[str, Committed] = {}
        self.commits = 0

    def add(self, raw: bytes, partition: int = 0) -> None:
        self.records[list(self.records)[partition]].append(raw)


class MemorySource:
    """Reads a `MemoryTopic`; ends when it has read everything, unless `endless`."""

    resumes = True

    def __init__(self, topic: MemoryTopic, context: StageContext, *, endless: bool = False) -> None:
        assert context.control is not None
        self._topic = topic
        self._control: Control = context.control
        self._endless = endless
        self._positions: dict[str, int] = {}
        self.polls = 0
        self.keepalives = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        self.polls += 1
        if not self._positions:
            await self.assign(self._topic.records)
        await anyio.lowlevel.checkpoint()
        batches = [
            self._batch(partition, max_events)
            for partition in self._positions
            if self._left(partition)
        ]
        if not batches:
            await anyio.sleep(timeout)
        return batches

    async def assign(self, partitions: Collection[str]) -> None:
        found = await self._control.assigned({p: self._topic.committed.get(p) for p in partitions})
        self._positions.update({p: found[p] or 0 for p in partitions})

    def _left(self, partition: str) -> int:
        return len(self._topic.records[partition]) - self._positions[partition]

    def _batch(self, partition: str, max_events: int) -> Batch:
        first = self._positions[partition]
        raws = self._topic.records[partition][first : first + max_events]
        offsets = range(first, first + len(raws))
        self._positions[partition] = offsets.stop
        return Batch.of_raws(
            raws,
            partition=partition,
            offsets=offsets,
            timestamps=[1_700_000_000_000 + offset for offset in offsets],
        )

    async def commit(self, positions: Mapping[str, int], tag: str) -> None:
        await anyio.lowlevel.checkpoint()
        for partition, position in positions.items():
            self._topic.committed[partition] = Committed(position, tag)
        self._topic.commits += 1

    async def keepalive(self) -> None:
        self.keepalives += 1

    def exhausted(self) -> bool:
        return (
            not self._endless
            and bool(self._positions)
            and not any(self._left(partition) for partition in self._positions)
        )


class MemorySink:
    """Keeps what is written in `rows`. `fail` is called before each write and may raise.

    `torn` makes each write store half of its rows, wait, and store the rest, as a real one may.
    """

    batch = BatchLimits(rows=500)

    def __init__(
        self,
        rows: list[Any],
        *,
        fail: Callable[[Batch], None] | None = None,
        torn: bool = False,
    ) -> None:
        self.rows = rows
        self.fail = fail
        self.torn = torn
        self.writes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def write(self, batch: Batch) -> None:
        self.writes += 1
        await anyio.lowlevel.checkpoint()
        if self.fail is not None:
            self.fail(batch)
        half = len(batch) // 2 if self.torn else 0
        self.rows.extend(batch.values[:half])
        if self.torn:
            await anyio.lowlevel.checkpoint()
        self.rows.extend(batch.values[half:])


class MemoryStore:
    """A checkpoint store that a crash does not touch."""

    def __init__(self, name: str = "memory") -> None:
        self.id = name
        self.epochs: dict[str, int] = {}
        self.positions_of: dict[str, Positions] = {}
        self.rows: dict[tuple[str, str, str, str, bytes], bytes] = {}
        self.fail: Exception | None = None

    async def last(self, pipeline: str) -> Checkpoint:
        await anyio.lowlevel.checkpoint()
        stored = self.positions_of.get(pipeline, {})
        return Checkpoint(
            self.epochs.get(pipeline, 0), {source: dict(p) for source, p in stored.items()}
        )

    async def positions(self, pipeline: str, partitions: Collection[str]) -> Positions:
        await anyio.lowlevel.checkpoint()
        return {
            source: {p: at for p, at in stored.items() if p in partitions}
            for source, stored in self.positions_of.get(pipeline, {}).items()
        }

    async def state(
        self, pipeline: str, step: str, key: str, partitions: Collection[str]
    ) -> list[StateRow]:
        await anyio.lowlevel.checkpoint()
        return [
            (partition, name, value)
            for (of, by, under, partition, name), value in self.rows.items()
            if (of, by, under) == (pipeline, step, key) and partition in partitions
        ]

    async def state_keys(self, pipeline: str, step: str) -> set[str]:
        return {key for of, by, key, _, _ in self.rows if (of, by) == (pipeline, step)}

    async def steps(self, pipeline: str) -> set[str]:
        return {row[1] for row in self.rows if row[0] == pipeline}

    async def save(self, pipeline: str, epoch: int, cut: Cut) -> None:
        await anyio.lowlevel.checkpoint()
        if self.fail is not None:
            raise self.fail
        self.epochs[pipeline] = epoch
        stored = self.positions_of.setdefault(pipeline, {})
        for source, positions in cut.positions.items():
            stored.setdefault(source, {}).update(positions)
        for step, key, partition, name, value in cut.changes:
            row = (pipeline, step, key, partition, name)
            if value is None:
                self.rows.pop(row, None)
            else:
                self.rows[row] = value

    async def drop(self, pipeline: str, partitions: Collection[str]) -> None:
        for positions in self.positions_of.get(pipeline, {}).values():
            for partition in partitions:
                positions.pop(partition, None)
        self.rows = {
            row: value
            for row, value in self.rows.items()
            if row[0] != pipeline or row[3] not in partitions
        }

    async def drop_state(self, pipeline: str, step: str, keep: str) -> None:
        self.rows = {
            row: value
            for row, value in self.rows.items()
            if row[:2] != (pipeline, step) or row[2] == keep
        }


def values(batches: Sequence[Batch]) -> list[Any]:
    """The events of several batches, in order."""
    return [value for batch in batches for value in batch.values]
