"""Joins of two streams: pairs as soon as both events are there, events alone once that is sure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, repeat

from streamd_windows.join_buffer import LEFT, RIGHT, JoinBuffer, Pair, all_joinable, joinable
from streamd_windows.join_queue import Held
from streamd_windows.join_rows import JoinRows
from streamd_windows.join_state import JoinBody
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
        self.slices = Slices(JoinBody)
        self.counted = {"join_evicted_events_total": 0, "join_unkeyed_events_total": 0}
        self._left = left
        self._buffer = buffer
        self._rows = JoinRows(results)
        self._alone = ALONE[kind]
        self._outer = any(self._alone)
        self._lateness = lateness
        self._within = int(buffer.within)
        self._wait = self._within + lateness
        self._max_events = max_events
        self._ready: dict[str, Chunk] = {}
        # Partitions of which events have been let go since the store was told.
        self._touched: set[str] = set()
        self._latest = NEVER

    def restored(self, slice_: Slice) -> None:
        body: JoinBody = slice_.body
        body.expired = slice_.fired
        alive = [held for held in body.loaded if held.time >= slice_.fired]
        for side in (LEFT, RIGHT):
            self._buffer.add(side, [held for held in alive if held.side == side])
        self._latest = max([self._latest, *(held.time for held in alive)])
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
            lateness, over = self._lateness, rows.slice.over
            pairs = enumerate(zip(rows.times, marks, strict=True))
            late = [row for row, (time, mark) in pairs if time < max(mark - lateness, over)]
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
        while gone := self._buffer.before(before, _CHUNK):
            self._touched.update({held.partition for held in gone})
            if self._outer:
                for held in gone:
                    self._release(held)
            yield self.immediate(watermark)
        touched, self._touched = self._touched, set()
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
        slice_, body = rows.slice, rows.slice.body
        events = _events(side, rows)
        if pairs := self._buffer.pairs(side, events):
            self._match(pairs)
            chunk = self._chunk(slice_)
            chunk.values.extend(self._rows.pairs(side, pairs))
            chunk.times.extend([max(held.time, other.time) for held, other in pairs])
        if not all_joinable(rows.keys):
            keyed = [held for held in events if joinable(held.key)]
            self.counted["join_unkeyed_events_total"] += len(events) - len(keyed)
            events = events if self._alone[side] else keyed
        body.add(events)
        for held in self._buffer.add(side, events):
            self._evict(held)
        if (over := len(self._buffer) - self._max_events) > 0:
            for held in self._buffer.oldest(over):
                self._evict(held)

    def _match(self, pairs: list[Pair]) -> None:
        """Only events that may be emitted alone have to remember; what is new is written whole."""
        if not self._outer:
            return
        for held, other in pairs:
            held.matched = True
            if not other.matched:
                other.matched = True
                owner = self.slices.get(other.partition)
                if owner is not None and self._alone[other.side]:
                    owner.body.match(other)

    def _evict(self, held: Held) -> None:
        self.counted["join_evicted_events_total"] += 1
        self._touched.add(held.partition)  # where all go so, nobody else says what is over
        self._release(held)

    def _release(self, held: Held) -> None:
        """An event has been let go: emit it alone if nobody has matched it."""
        slice_ = self.slices.get(held.partition)
        if slice_ is None:
            return
        slice_.body.drop(held)
        if self._alone[held.side] and not held.matched:
            chunk = self._chunk(slice_)
            chunk.values.append(self._rows.alone(held))
            chunk.times.append(held.time + self._within)

    def _chunk(self, slice_: Slice) -> Chunk:
        chunk = self._ready.get(slice_.name)
        if chunk is None:
            chunk = self._ready[slice_.name] = Chunk(slice_, [], [])
        return chunk


def _events(side: int, rows: Rows) -> list[Held]:
    """The rows as events that can wait."""
    offsets = rows.offsets
    nths: Iterable[int] = repeat(0)
    if len(set(offsets)) < len(offsets):
        nths = [number for _, same in groupby(offsets) for number, _ in enumerate(same)]
    numbers = rows.slice.body.numbers(len(offsets))
    places = repeat(rows.slice.name), offsets, nths
    return list(map(Held, repeat(side), rows.keys, rows.times, rows.values, *places, numbers))
