"""The step around a windower: reads batches, keeps time, routes late events, emits results."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Self

from streamd.api import Batch, ConfigError, Reject, Rejects, StageContext
from streamd_windows.config import TimeConfig, to_ms
from streamd_windows.floor import Floor
from streamd_windows.keys import Key
from streamd_windows.meters import Meters
from streamd_windows.results import batches
from streamd_windows.rows import Chunk, Columns, Rows, Windower
from streamd_windows.slices import NEVER, Changes, Slice
from streamd_windows.times import future_reject, late_reject, time_reader
from streamd_windows.watermarks import Watermarks

# A window of a million keys is emitted over several calls: the engine takes what it is given.
MAX_ROWS = 50_000
PROCESSING = "processing"
_ROWS_PER_MS = 10  # bits; offsets stay below 2 ** 53, which JSON readers take for exact


class WindowStage:
    """Base of all kinds. A subclass gives the windower and says how keys are read.

    `columns` is None for a kind without aggregations. `key_of` gives the keys of events of a
    stream. `early_every` is in ms, 0 for never.
    """

    def __init__(
        self,
        config: TimeConfig,
        context: StageContext,
        windower: Windower,
        key_of: Callable[[str | None, list[Any]], list[Key]],
        columns: Columns | None = None,
        early_every: int = 0,
    ) -> None:
        if config.aligned and not config.key_fields():
            raise ConfigError(
                "a window without a key needs every event, which no partition alone has",
                path="aligned",
            )
        self._context = context
        self._now = context.clock.now_ms
        self._windower = windower
        self._slices = windower.slices
        self._key_of = key_of
        self._fields = list(columns.fields.values()) if columns else []
        self._ordered = columns.table.ordered if columns else False
        self._by_clock = config.time == PROCESSING
        self._read_times = time_reader(
            "record" if self._by_clock else config.time, config.time_unit
        )
        self._slack = 0 if self._by_clock else to_ms(config.out_of_orderness)
        self._max_future = to_ms(config.max_future)
        self._close_idle_after = float(config.close_idle_after)
        # What comes for windows that it has passed is late.
        lateness = to_ms(config.allowed_lateness)
        self._floor = Floor(self._slices, lateness, aligned=config.aligned)
        self._aligned = config.aligned
        streams = context.inputs if len(context.inputs) > 1 else ()
        self._watermarks = Watermarks(self._slack, float(config.idle_after), streams)
        # Streams that were one come one after the other, and so do the partitions of a window's
        # results: time stands still until the next tick, or the first would make others late.
        self._waits = len(streams) > 1 and not self._by_clock
        self._emitting: deque[Iterator[list[Chunk]]] = deque()
        self._late_stream = f"{context.stage}.late"
        self._meters = Meters(context, windower.counted, columns)
        self._early_every = early_every
        self._early_at = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    # --- events and time ---

    def process(self, batch: Batch) -> list[Batch | Rejects]:
        now = self._now()
        times, rejects = self._times(batch, now)
        origin: Sequence[int] = range(len(batch))
        read = batch
        if rejects:
            origin = [row for row in origin if row not in rejects]
            read = batch.take(origin)
            times = [times[row] for row in origin]
        late, chunks = self._add(read, times, now)
        out: list[Batch | Rejects] = []
        out += self._emit(now, chunks, NEVER if self._waits else self._time(now))
        if late:
            self._meters.late(len(late))
            if len(self._slices) > 1:  # in another run others may be late
                self._slices.waver()
            rows = [origin[row] for row in late]
            if self._late_stream in self._context.readable:
                out.append(batch.take(rows, stream=self._late_stream))
            else:
                rejects.update(
                    (row, late_reject(times[i])) for row, i in zip(rows, late, strict=True)
                )
        if rejects:
            out.append(Rejects(rejects))
        return out

    def tick(self, active: float) -> list[Batch]:
        now = self._now()
        self._watermarks.release()
        self._watermarks.tick(active)
        if self._early_every and now >= self._early_at and not self._emitting:
            self._early_at = now + self._early_every
            self._emitting.append(self._windower.early(self._watermark()))
        out = self._emit(now, [], max(self._time(now), self._beyond(now, active)))
        self._meters.held(self._windower.gauges(), self._watermark(), now)
        return out

    # --- state ---

    def assign(self, partitions: Collection[str], rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        # What is being emitted was chosen without what comes now: choose anew.
        self._emitting.clear()
        self._floor.part()
        taken = self._slices.assign(partitions, rows)
        for slice_ in sorted(taken, key=lambda taken: taken.derived):
            self._join(slice_)
            self._windower.restored(slice_)

    def revoke(self, partitions: Collection[str]) -> None:
        for slice_ in self._slices.revoke(partitions):
            self._watermarks.remove(slice_.name)
            self._windower.revoked(slice_)
        if self._slices and not self._aligned and not self._by_clock:
            self._context.log.warning(
                "Partitions have moved away from a window whose keys are not aligned with them",
                partitions=sorted(partitions)[:10],
            )

    def take_changes(self) -> Changes:
        self._watermarks.release()
        self._floor.settle()
        return self._slices.changes()

    # --- inside ---

    def _times(self, batch: Batch, now: int) -> tuple[list[int], dict[int, Reject]]:
        if self._by_clock:
            return [max(now, self._floor.at)] * len(batch), {}
        times, bad = self._read_times(batch)
        rejects = {row: Reject("timestamp", message) for row, message in bad.items()}
        limit = now + self._max_future
        if times and max(times) > limit:
            for row, time in enumerate(times):
                if time > limit:
                    rejects[row] = future_reject(time)
        return times, rejects

    def _add(self, batch: Batch, times: list[int], now: int) -> tuple[list[int], list[Chunk]]:
        """Give the rows to the windower by partition. Returns late rows, and results of it."""
        late: list[int] = []
        chunks: list[Chunk] = []
        if not times:
            return late, chunks
        keys = self._key_of(batch.stream, batch.values)
        fields = [read(batch.values, now, {}) for read in self._fields]
        first = 0
        for span in batch.spans:
            stop = first + span.rows
            if span.rows:
                slice_ = self._slice(span.partition)
                order = []
                if self._ordered:
                    places = zip(times[first:stop], batch.offsets[first:stop], strict=True)
                    order = [(time, slice_.name, offset) for time, offset in places]
                rows = Rows(
                    slice_,
                    batch.stream,
                    keys[first:stop],
                    times[first:stop],
                    batch.values[first:stop],
                    batch.offsets[first:stop],
                    [field[first:stop] for field in fields],
                    order,
                )
                found, made = self._add_rows(rows)
                late += [first + row for row in found]
                chunks += made
            first = stop
        return late, chunks

    def _add_rows(self, rows: Rows) -> tuple[list[int], list[Chunk]]:
        slice_, times = rows.slice, rows.times
        high = slice_.high
        others = self._watermarks.heard(slice_, rows.stream, times, wait=self._waits)
        floor = self._floor.of(slice_)
        if self._by_clock:  # a partition may have been where the clock is ahead
            if times[0] < floor:
                rows = rows._replace(times=[floor] * len(times))
            return self._windower.add(rows, None), []
        before, after = [max(floor, min(t - self._slack, others)) for t in (high, slice_.high)]
        # In the order of time, as most batches are, each event moves the watermark up to itself
        # at most: it is enough that the first one is not behind.
        earliest = min(times)
        careless = self._windower.careless(earliest) if earliest >= slice_.over else NEVER
        if careless > after or (careless > before and times == sorted(times)):
            return self._windower.add(rows, None), []
        if self._waits:
            return self._windower.add(rows, [after] * len(times)), []
        marks = self._watermarks.marks(high, self._floor.at, others, times)
        return self._add_carefully(rows, marks)

    def _add_carefully(self, rows: Rows, marks: list[int]) -> tuple[list[int], list[Chunk]]:
        """As if the events came one at a time: close what is due before each that comes after."""
        late: list[int] = []
        chunks: list[Chunk] = []
        start, own = 0, rows.slice.floor
        # What an aligned partition had closed elsewhere is over for it, not for the others.
        passed = [max(own, mark) for mark in marks] if own > self._floor.at else marks
        for cut in [*self._windower.cuts(rows.times, marks), len(marks)]:
            if cut > start:
                found = self._windower.add(rows.cut(start, cut), passed[start:cut])
                late += [start + row for row in found]
                start = cut
            if cut < len(marks):
                chunks += self._windower.immediate(self._watermark())
                chunks += self._exhaust()
                self._floor.rise(marks[cut])
                for made in self._windower.advance(marks[cut]):
                    chunks += made
        return late, chunks

    def _emit(self, now: int, chunks: list[Chunk], time: int) -> list[Batch]:
        """Close what `time` has passed, and make batches of what that gives."""
        chunks += self._windower.immediate(self._watermark())
        if time > NEVER and not self._emitting:
            self._floor.rise(time)
            self._emitting.append(self._windower.advance(self._floor.at))
        chunks += self._exhaust(MAX_ROWS)
        live = [chunk for chunk in chunks if self._slices.get(chunk.slice.name) is chunk.slice]
        self._meters.emitted(live, now)
        return batches(self._context.stage, live, repeats=not self._windower.repeatable)

    def _time(self, now: int) -> int:
        """How far time has come, NEVER if nobody knows."""
        if self._by_clock:
            return now
        watermark = self._watermarks.current()
        return NEVER if watermark is None else watermark

    def _beyond(self, now: int, active: float) -> int:
        """How far time goes by itself when nothing comes."""
        ended = active == math.inf  # the sources have come to their end
        limit = self._close_idle_after
        quiet = limit and active - self._watermarks.heard_last() >= limit
        if not ended and (not quiet or self._by_clock):
            return NEVER
        horizon = self._windower.horizon()
        if horizon is None or ended:
            return NEVER if horizon is None else horizon
        self._slices.waver()
        self._watermarks.hush()
        # Never beyond what is open: a stream that is silent for a while may go on in the past.
        return min(now - self._slack, horizon)

    def _exhaust(self, limit: float = math.inf) -> list[Chunk]:
        chunks: list[Chunk] = []
        while self._emitting:
            for made in self._emitting[0]:
                chunks += made
                limit -= sum(len(chunk.values) for chunk in made)
                if limit <= 0:
                    return chunks
            self._emitting.popleft()
        return chunks

    def _watermark(self) -> int | None:
        return None if self._floor.at == NEVER else self._floor.at

    def _slice(self, partition: str) -> Slice:
        slice_, new = self._slices.of(partition)
        if new:
            self._join(slice_)
        return slice_

    def _join(self, slice_: Slice) -> None:
        self._watermarks.add(slice_)
        if slice_.derived:
            # The source's events reach this stage under this name: do not wait for its own.
            self._watermarks.remove(slice_.root)
            self._waits = not self._by_clock
        self._floor.join(slice_)
        if self._by_clock or not self._windower.repeatable or not slice_.steady:
            # What the last run has sent since the checkpoint may differ from what comes now: a
            # sink that skips offsets which it has must not take one for the other.
            slice_.sequence = max(slice_.sequence, self._now() << _ROWS_PER_MS)
