"""Joins of two streams: pairs as soon as both events are there, events alone once that is sure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streamd_windows.aggregates.ordered import shown
from streamd_windows.join_buffer import LEFT, RIGHT, Held, JoinBuffer, joinable
from streamd_windows.join_state import JoinBody
from streamd_windows.keys import key_dict
from streamd_windows.results import ResultRows
from streamd_windows.rows import Chunk, Rows
from streamd_windows.slices import NEVER, Slice, Slices

_CHUNK = 1000
# Which sides are also emitted alone.
ALONE = {
    "inner": (False, False),
    "left": (True, False),
    "right": (False, True),
    "full": (True, True),
}


class JoinWindower:
    """See `Windower`. `lateness` is in ms, as is the buffer's `within`."""

    # Which event of a pair comes second depends on how the partitions take turns.
    repeatable = False

    def __init__(
        self,
        left: str,
        buffer: JoinBuffer,
        results: ResultRows,
        *,
        kind: str,
        lateness: int,
        max_events: int,
    ) -> None:
        self.slices = Slices(self.body)
        self.counted = {"join_evicted_events_total": 0, "join_unkeyed_events_total": 0}
        self._left = left
        self._buffer = buffer
        self._results = results
        self._alone = ALONE[kind]
        self._lateness = lateness
        self._wait = int(buffer.within) + lateness
        self._max_events = max_events
        self._ready: dict[str, Chunk] = {}
        self._latest = NEVER

    def body(self, partition: str) -> JoinBody:
        return JoinBody(partition)

    def restored(self, slice_: Slice) -> None:
        body: JoinBody = slice_.body
        body.expired = slice_.fired
        for held in body.loaded:
            if held.time >= slice_.fired:
                self._buffer.add(held)
                self._latest = max(self._latest, int(held.time))
        body.loaded = []

    def revoked(self, slice_: Slice) -> None:
        self._buffer.remove(slice_.name)
        self._ready.pop(slice_.name, None)

    def careless(self, time: int) -> int:
        return time + self._lateness + 1

    def cuts(self, times: Sequence[int], marks: Sequence[int]) -> list[int]:  # noqa: ARG002
        return []  # what has been let go is beyond the reach of an event that is not late

    def add(self, rows: Rows, marks: Sequence[int] | None) -> list[int]:
        late: list[int] = []
        if marks is not None:
            pairs = enumerate(zip(rows.times, marks, strict=True))
            late = [row for row, (time, mark) in pairs if time + self._lateness < mark]
            rows = rows.without(late) if late else rows
        if rows.times:
            self._latest = max(self._latest, max(rows.times))
            self._add(rows)
        return late

    def immediate(self, watermark: int | None) -> list[Chunk]:  # noqa: ARG002
        ready, self._ready = self._ready, {}
        return list(ready.values())

    def advance(self, watermark: int) -> Iterator[list[Chunk]]:
        before = watermark - self._wait
        touched: dict[str, None] = {}
        while gone := self._buffer.before(before, _CHUNK):
            for held in gone:
                touched[held.partition] = None
                self._release(held)
            yield self.immediate(watermark)
        for name in touched:
            if (slice_ := self.slices.get(name)) is not None:
                slice_.fired, slice_.changed = before, True
                slice_.body.expire(before)

    def early(self, watermark: int | None) -> Iterator[list[Chunk]]:  # noqa: ARG002
        return iter(())

    def horizon(self) -> int | None:
        return self._latest + self._wait + 1 if len(self._buffer) else None

    def gauges(self) -> Mapping[str, int]:
        left, right = self._buffer.sizes
        return {"join_left_events": left, "join_right_events": right}

    def _add(self, rows: Rows) -> None:
        side = LEFT if rows.stream == self._left else RIGHT
        body: JoinBody = rows.slice.body
        partition, buffer = rows.slice.name, self._buffer
        keeps_lonely = self._alone[side]
        columns = zip(rows.keys, rows.times, rows.values, rows.offsets, strict=True)
        before, nth = None, 0
        for key, time, value, offset in columns:
            nth = nth + 1 if offset == before else 0
            before = offset
            held = Held(side, key, time, value, partition, offset, nth)
            for other in buffer.partners(held):
                self._pair(rows.slice, held, other)
            if not joinable(key):
                self.counted["join_unkeyed_events_total"] += 1
                if not keeps_lonely:
                    continue
            body.add(held)
            if (full := buffer.add(held)) is not None:
                self._evict(full)
        for held in buffer.oldest(max(0, len(buffer) - self._max_events)):
            self._evict(held)

    def _pair(self, slice_: Slice, held: Held, other: Held) -> None:
        held.matched = True
        if not other.matched:
            # Only events that may be emitted alone have to remember; what is new is written whole.
            other.matched = True
            owner = self.slices.get(other.partition)
            if owner is not None and self._alone[other.side]:
                owner.body.match(other)
        left, right = (held, other) if held.side == LEFT else (other, held)
        self._push(slice_, self._row(left, right), max(int(left.time), int(right.time)))

    def _evict(self, held: Held) -> None:
        self.counted["join_evicted_events_total"] += 1
        self._release(held)

    def _release(self, held: Held) -> None:
        """An event has been let go: emit it alone if nobody has matched it."""
        slice_ = self.slices.get(held.partition)
        if slice_ is None:
            return
        slice_.body.drop(held)
        if self._alone[held.side] and not held.matched:
            left, right = (held, None) if held.side == LEFT else (None, held)
            self._push(slice_, self._row(left, right), int(held.time + self._buffer.within))

    def _push(self, slice_: Slice, row: dict[str, Any], time: int) -> None:
        chunk = self._ready.get(slice_.name)
        if chunk is None:
            chunk = self._ready[slice_.name] = Chunk(slice_, [], [])
        chunk.values.append(row)
        chunk.times.append(time)

    def _row(self, left: Held | None, right: Held | None) -> dict[str, Any]:
        there = [held for held in (left, right) if held is not None]
        times = [int(held.time) for held in there]
        show, names = self._results.show, self._results.names
        places = [
            None if held is None else (held.partition, held.offset, held.nth)
            for held in (left, right)
        ]
        return {
            "window": self._results.stage,
            "id": self._results.ids.hashed(*places),
            "start": show(min(times)),
            "end": show(max(times)),
            "key": key_dict(names, there[0].key),
            "left": None if left is None else shown(left.value),
            "right": None if right is None else shown(right.value),
            "time_diff": times[1] - times[0] if len(times) > 1 else None,
        }
