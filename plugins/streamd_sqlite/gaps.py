"""Rows of writes that failed and were given up, which the position then passes unstored.

A write that fails whole is tried again by the engine, or its rows become dead letters and those
behind them are written. Should a crash come before the dead letters are stored, all of these rows
come again, and those that were given up must not be taken for stored ones. So the write that
passes them notes their offsets as a gap, in its own transaction. Within a gap rows are
recognized one by one, by what is noted of those that were stored there since.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from streamd.api import Batch
from streamd_sqlite import statements as sql
from streamd_sqlite.identity import Places, Position


class Gap(Struct, frozen=True):
    """The offsets of a partition from `first` to `last` may hold rows that are not stored."""

    partition: str
    first: int
    last: int


class Failed(Struct, frozen=True):
    """The offsets of rows whose last write failed. `head` are the events of the rows at `first`,
    None where that is not known: one event may be given up in part."""

    first: int
    last: int
    head: list[Any] | None = None


class Missed:
    """What was to be written and was not, by partition. Lives as long as the sink."""

    def __init__(self, ranges: Mapping[str, Failed] | None = None) -> None:
        self.ranges = dict(ranges or {})

    def failed(self, partitions: Sequence[str], batch: Batch) -> None:
        """A write of these rows has failed, or its answer was lost."""
        for partition, (low, high) in _bounds(partitions, batch.offsets).items():
            head: list[Any] | None = _events_at(partition, low, partitions, batch)
            known = self.ranges.get(partition)
            if known is not None:
                if known.first < low or known.head is None:
                    head = known.head
                elif known.first == low and head is not None:
                    head = head + known.head
                low, high = min(low, known.first), max(high, known.last)
            self.ranges[partition] = Failed(low, high, head)

    def passed(
        self, partitions: Sequence[str], batch: Batch, positions: Mapping[str, Position]
    ) -> tuple[list[Gap], Missed]:
        """What a write of these rows leaves behind as gaps, and what is still missed after it.

        Rows that are missing at its beginning have been given up: the engine writes in order. Of
        what lies behind the positions before it all is known already.
        """
        gaps: list[Gap] = []
        left = dict(self.ranges)
        for partition, (low, high) in _bounds(partitions, batch.offsets).items():
            one = left.get(partition)
            if one is None or high < one.first:
                continue
            del left[partition]
            position = positions.get(partition)
            if position is not None and position.last > one.first:
                one = Failed(position.last, one.last)
            if one.first <= one.last and not _again(one, low, partition, partitions, batch):
                gaps.append(Gap(partition, one.first, min(low, one.last)))
            if max(high, one.first) < one.last:
                # Rows of one event may be cut by the end of a write.
                left[partition] = Failed(max(high, one.first), one.last)
        return gaps, Missed(left)


class GapTable:
    """The gaps of one sink in its database. Call its methods within a transaction."""

    def __init__(self, db: sqlite3.Connection, sink: str) -> None:
        self._db, self._sink = db, sink
        self._gaps: dict[str, list[Gap]] = {}
        db.execute(sql.GAPS)
        db.execute(sql.FILLED)
        self.add(Gap(*row) for row in db.execute(sql.GET_GAPS, (sink,)))

    def add(self, gaps: Iterable[Gap]) -> None:
        """These are in the database now."""
        for gap in gaps:
            self._gaps.setdefault(gap.partition, []).append(gap)

    def stored(self, partition: str, offset: int, digest: bytes) -> int | None:
        """How many such rows are stored there; None if the place is in no gap."""
        if not any(gap.first <= offset <= gap.last for gap in self._gaps.get(partition, ())):
            return None
        found = self._db.execute(sql.GET_FILLED, (self._sink, partition, offset, digest)).fetchone()
        return int(found[0]) if found else 0

    def note(
        self,
        gaps: Sequence[Gap],
        places: Places,
        stored: Sequence[int],
        positions: Mapping[str, Position],
    ) -> None:
        """Store new gaps, and what is stored at their ends; and which rows fill old ones.

        `stored` are the rows of this write, `positions` those before it.
        """
        self._db.executemany(
            sql.PUT_GAP, [(self._sink, gap.partition, gap.first, gap.last) for gap in gaps]
        )
        filled: Counter[tuple[str, int, bytes]] = Counter()
        for gap in gaps:
            position = positions.get(gap.partition)
            if position is not None and position.last == gap.first:
                for digest, rows in position.tail.items():
                    filled[gap.partition, gap.first, digest] += rows
        ends = {(gap.partition, gap.last) for gap in gaps}
        for row in stored if ends or self._gaps else ():
            partition, offset = places.partitions[row], places.offsets[row]
            if (partition, offset) in ends or self._fills(partition, offset, positions):
                filled[partition, offset, places.digest(row)] += 1
        self._db.executemany(
            sql.FILL_GAP, [(self._sink, *place, rows) for place, rows in filled.items()]
        )

    def _fills(self, partition: str, offset: int, positions: Mapping[str, Position]) -> bool:
        position = positions.get(partition)
        behind = position is not None and offset <= position.last
        gaps = self._gaps.get(partition, ()) if behind else ()
        return any(gap.first <= offset <= gap.last for gap in gaps)


def _again(one: Failed, low: int, partition: str, partitions: Sequence[str], batch: Batch) -> bool:
    """Whether a write begins at or before what has failed: the very same events are in it."""
    if low != one.first:
        return low < one.first
    here = {id(event) for event in _events_at(partition, low, partitions, batch)}
    return one.head is not None and all(id(event) in here for event in one.head)


def _events_at(partition: str, offset: int, partitions: Sequence[str], batch: Batch) -> list[Any]:
    places = zip(partitions, batch.offsets, batch.values, strict=True)
    return [value for name, at, value in places if (name, at) == (partition, offset)]


def _bounds(partitions: Sequence[str], offsets: Sequence[int]) -> dict[str, tuple[int, int]]:
    """The lowest and the highest offset of each partition."""
    bounds: dict[str, tuple[int, int]] = {}
    for partition, offset in zip(partitions, offsets, strict=True):
        low, high = bounds.get(partition, (offset, offset))
        bounds[partition] = min(low, offset), max(high, offset)
    return bounds
