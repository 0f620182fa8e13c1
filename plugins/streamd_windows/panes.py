"""Tumbling and sliding windows: events go into panes, windows are merged of panes when due."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from streamd_windows.keys import Key
from streamd_windows.layout import Layout
from streamd_windows.pane_state import PaneBody
from streamd_windows.pane_view import WindowView
from streamd_windows.results import ResultRows
from streamd_windows.rows import Chunk, Columns, Rows
from streamd_windows.shards import Shard
from streamd_windows.slices import NEVER, Slice, Slices
from streamd_windows.watermarks import BEYOND

# Rows that are made at a time.
CHUNK = 1000
# Cells that are given back to the allocator at a time, about: a million would take 0.3 s.
_FREED = 32_768


class PaneWindower:
    """See `Windower`. `lateness` is in ms; `early_events` is 0 for none.

    `repeats` tells that `early` will be called: only if a window may be emitted more than once is
    it recorded what has been emitted.
    """

    def __init__(
        self,
        layout: Layout,
        columns: Columns,
        results: ResultRows,
        *,
        lateness: int = 0,
        early_events: int = 0,
        repeats: bool = False,
    ) -> None:
        self.slices = Slices(partial(PaneBody, columns.table))
        self.counted: dict[str, int] = {}
        self._layout = layout
        self._columns = columns
        self._results = results
        self._lateness = lateness
        self._early_events = early_events
        self._tracks = repeats or bool(lateness or early_events)
        self.repeatable = not self._tracks
        # Window end to keys that may have to be emitted at once. A dict: sets have no order.
        self._pending: dict[int, dict[Key, None]] = {}
        # The window that `advance` is in the middle of: large ones are emitted over several calls.
        self._firing = NEVER
        # How many groups of cells there have been: who is in the middle of a window looks anew.
        self._made = 0
        # Up to here every window has been emitted, whatever partition it came by.
        self._passed = NEVER
        self._next_end = BEYOND
        self._next_purge = BEYOND
        self._waste: list[Shard] = []

    def restored(self, slice_: Slice) -> None:
        self._passed = NEVER  # it may be behind
        if self._tracks:
            slice_.done = 0  # a late key may have changed the order of the rows
        self._schedule()

    def revoked(self, slice_: Slice) -> None:
        if not self._columns.table.bare:
            for group in slice_.body.groups.values():
                group.merge()  # the next owner takes values of no use for counted

    def careless(self, time: int) -> int:
        return self._layout.first_end(time)

    def cuts(self, times: Sequence[int], marks: Sequence[int]) -> list[int]:
        first, last, lateness = self._layout.first_end, self._layout.last_end, self._lateness
        return [
            row
            for row, (time, mark) in enumerate(zip(times, marks, strict=True))
            if first(time) <= mark < last(time) + lateness
        ]

    def add(self, rows: Rows, marks: Sequence[int] | None) -> list[int]:
        late: list[int] = []
        if marks is not None:
            expires, lateness, over = self._layout.last_end, self._lateness, rows.slice.over
            gone = [max(mark - lateness, over) for mark in marks]
            pairs = enumerate(zip(rows.times, gone, strict=True))
            late = [row for row, (time, before) in pairs if expires(time) <= before]
            if len(late) < len(rows.times):
                self._leave_out_passed(rows.slice)
            if lateness:
                self._note_refinements(rows, gone)
            if late:
                rows = rows.without(late)
        for pane, part in self._by_pane(rows):
            self._schedule_pane(rows.slice, pane)
            group = rows.slice.body.touch("p", pane)
            group.add(part.keys, part.fields, part.order)
            if self._early_events:
                for end in self._layout.ends(pane, self._fired(rows.slice), BEYOND):
                    self._pending.setdefault(end, {}).update(dict.fromkeys(part.keys))
        return late

    def immediate(self, watermark: int | None) -> list[Chunk]:
        chunks: list[Chunk] = []
        if not self._pending:
            return chunks
        pending, self._pending = self._pending, {}
        fired = max(self._fired(slice_) for slice_ in self.slices.values())
        for end, keys in sorted(pending.items()):
            view = self._view(end)
            least = 1 if end <= fired else self._early_events
            due = [key for key in keys if view.unseen(key) >= least]
            for made in self._repeat(view, watermark, due):
                chunks += made
        return chunks

    def advance(self, watermark: int) -> Iterator[list[Chunk]]:
        self._free()
        if watermark < self._next_end and watermark < self._next_purge:
            self._passed = max(self._passed, watermark)
            return
        try:
            for end in self._due(watermark):
                self._firing = end
                yield from self._fire(self._view(end))
                for slice_ in self.slices.values():
                    if slice_.fired < end:
                        slice_.fired, slice_.done, slice_.changed = end, 0, True
        finally:  # also where the caller gives up
            self._firing = NEVER
        self._passed = max(self._passed, watermark)
        self._purge(watermark)

    def early(self, watermark: int | None) -> Iterator[list[Chunk]]:
        for end in self._due(BEYOND):
            view = self._view(end)
            changed = [key for owned in view.owned() for key in owned.keys if view.unseen(key)]
            yield from self._repeat(view, watermark, changed)

    def horizon(self) -> int | None:
        ends = [self._expiry(*name) for s in self.slices.values() for name in s.body.groups]
        return max(ends, default=None)

    def gauges(self) -> Mapping[str, int]:
        keys, windows = 0, set()
        for slice_ in self.slices.values():
            for (kind, at), group in slice_.body.groups.items():
                if kind == "p":
                    keys += len(group)
                    windows.add(self._layout.end_from(at + 1))
        return {"window_open": len(windows), "window_keys": keys}

    # --- adding ---

    def _by_pane(self, rows: Rows) -> Iterable[tuple[int, Rows]]:
        if not rows.times:
            return []
        pane_of = self._layout.pane_of
        first = pane_of(min(rows.times))
        if max(rows.times) < first + self._layout.pane:
            return [(first, rows)]
        found: dict[int, list[int]] = {}
        for row, time in enumerate(rows.times):
            found.setdefault(pane_of(time), []).append(row)
        return [(start, rows.take(found[start])) for start in sorted(found)]

    def _leave_out_passed(self, slice_: Slice) -> None:
        """Windows that are over have been emitted, also those in which nothing was: an event
        that comes after that counts in the later windows that hold it, and is late for these."""
        over = self._layout.end_from(self._passed + 1) - self._layout.slide
        if slice_.fired < over:
            slice_.fired, slice_.changed = over, True

    def _note_refinements(self, rows: Rows, gone: Sequence[int]) -> None:
        """Remember what goes into windows that have been emitted and are still kept."""
        fired = self._fired(rows.slice)
        for key, time, before in zip(rows.keys, rows.times, gone, strict=True):
            for end in self._layout.ends(time, before, fired):
                self._pending.setdefault(end, {})[key] = None

    def _fired(self, slice_: Slice) -> int:
        return max(slice_.fired, self._firing)

    # --- emitting ---

    def _view(self, end: int) -> WindowView:
        return WindowView(self.slices, self._layout, end, self._made)

    def _due(self, watermark: int) -> list[int]:
        """Ends of the windows to emit, each once, in order."""
        due: set[int] = set()
        for slice_ in self.slices.values():
            for kind, at in slice_.body.groups:
                if kind == "p":
                    due.update(self._layout.ends(at, self._fired(slice_), watermark))
        return sorted(due)

    def _fire(self, view: WindowView) -> Iterator[list[Chunk]]:
        """Every row of a window. `done` follows: after a crash the rest comes, and only it."""
        for slice_, shard, before, keys in view.owned():
            while slice_.fired < view.end and (at := slice_.done - before) < len(keys):
                block = keys[at : at + CHUNK]
                slice_.done += len(block)
                slice_.changed = True
                yield [self._chunk(view, slice_, block, view.end, shard)]

    def _repeat(
        self, view: WindowView, watermark: int | None, keys: list[Key]
    ) -> Iterator[list[Chunk]]:
        """Rows of a window before it closes, or once more after that."""
        for slice_, mine in view.owned_of(keys):
            for at in range(0, len(mine), CHUNK):
                yield [self._chunk(view, slice_, mine[at : at + CHUNK], watermark)]

    def _chunk(
        self,
        view: WindowView,
        slice_: Slice,
        keys: list[Key],
        watermark: int | None,
        shard: int | None = None,
    ) -> Chunk:
        view.refresh(self._made)
        columns = view.columns(self._columns.table, keys, shard)
        panes = self._number(view, slice_, keys) if self._tracks else [0] * len(keys)
        shown = self._columns.names, self._columns.results(columns, keys)
        span = view.end - self._layout.size, view.end
        rows = self._results.rows(span, keys, panes, shown, watermark)
        return Chunk(slice_, rows, [view.end] * len(rows))

    def _number(self, view: WindowView, slice_: Slice, keys: list[Key]) -> list[int]:
        """Which row of its window and key each is, from 0; recorded as emitted."""
        if ("e", view.end) not in slice_.body.groups:
            self._made += 1
        group = slice_.body.touch("e", view.end)
        self._next_purge = min(self._next_purge, view.end + self._lateness)
        view.record(group, self._made)
        rows, events = group.fresh
        panes = []
        for key in keys:
            emitted, seen = view.emitted(key)
            panes.append(emitted)
            rows[key] += 1
            events[key] += view.count(key) - seen
        group.settle()
        return panes

    # --- forgetting ---

    def _expiry(self, kind: str, at: int) -> int:
        return (self._layout.last_end(at) if kind == "p" else at) + self._lateness

    def _purge(self, watermark: int) -> None:
        for slice_ in self.slices.values():
            body: PaneBody = slice_.body
            for name in [n for n in body.groups if self._expiry(*n) <= watermark]:
                self._waste += body.drop(name)
        self._schedule()

    def _free(self) -> None:
        if self._waste:
            left = max(_FREED, sum(map(len, self._waste)) // 8)  # whatever comes meanwhile
            while self._waste and left > 0:
                left -= len(self._waste.pop())

    def _schedule_pane(self, slice_: Slice, pane: int) -> None:
        if ("p", pane) not in slice_.body.groups:
            self._made += 1
            self._next_end = min(self._next_end, self._layout.first_end(pane))
            self._next_purge = min(self._next_purge, self._expiry("p", pane))

    def _schedule(self) -> None:
        """Find out when there is something to do again."""
        layout, ends, purges = self._layout, [BEYOND], [BEYOND]
        for slice_ in self.slices.values():
            for kind, at in slice_.body.groups:
                purges.append(self._expiry(kind, at))
                if kind == "p" and layout.last_end(at) > slice_.fired:
                    ends.append(layout.end_from(max(at, slice_.fired) + 1))
        self._next_end, self._next_purge = min(ends), min(purges)
