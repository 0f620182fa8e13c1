"""Session windows: events of a key belong together while none follows later than the gap.

An event at the very end of the gap starts a new session. A late event that lies between two
sessions merges them. A key may come by several partitions: each has its own runs, and those that
overlap are one session when it is emitted.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from streamd_windows.aggregates import Cells
from streamd_windows.keys import Key
from streamd_windows.results import ResultRows
from streamd_windows.rows import Chunk, Columns, Rows
from streamd_windows.session_state import Session, SessionBody
from streamd_windows.session_whole import Whole, whole_session
from streamd_windows.slices import NEVER, Slice, Slices

_CHUNK = 1000


class SessionWindower:
    """See `Windower`. `gap` and `lateness` are in ms."""

    def __init__(
        self,
        gap: int,
        columns: Columns,
        results: ResultRows,
        *,
        lateness: int = 0,
        repeats: bool = False,
    ) -> None:
        self.slices = Slices(self.body)
        self.counted: dict[str, int] = {}
        self.repeatable = not (lateness or repeats)
        self._gap = gap
        self._columns = columns
        self._results = results
        self._lateness = lateness
        # (time to look, partition, number, serial, session). A session that grows is not told to
        # the queue: what comes up too early is put back.
        self._queue: list[tuple[int, str, int, int, Session]] = []
        self._serial = count()
        self._latest = NEVER

    def body(self, partition: str) -> SessionBody:
        return SessionBody(self._columns.aggregates, partition)

    def restored(self, slice_: Slice) -> None:
        for key in slice_.body.held:
            for session in slice_.body.of(key):
                self._latest = max(self._latest, session.last + self._gap)
                self._queue_up(slice_, session, session.last + self._gap)

    def revoked(self, slice_: Slice) -> None:
        self._queue = [entry for entry in self._queue if entry[1] != slice_.name]
        heapq.heapify(self._queue)

    def careless(self, time: int) -> int:
        return time + 1

    def cuts(self, times: Sequence[int], marks: Sequence[int]) -> list[int]:
        pairs = zip(times, marks, strict=True)
        return [row for row, (time, mark) in enumerate(pairs) if time < mark]

    def add(self, rows: Rows, marks: Sequence[int] | None) -> list[int]:
        late = self._late(rows, marks) if marks is not None else []
        if late:
            rows = rows.without(late)
        if rows.times:
            body: SessionBody = rows.slice.body
            numbers = self._place_all(rows, body)
            self._columns.update(body.cells, numbers, rows)
        return late

    def immediate(self, watermark: int | None) -> list[Chunk]:  # noqa: ARG002
        return []

    def advance(self, watermark: int) -> Iterator[list[Chunk]]:
        while self._queue and self._queue[0][0] <= watermark:
            yield from self._show(self._due(watermark), watermark, complete=True)

    def early(self, watermark: int | None) -> Iterator[list[Chunk]]:
        changed: list[Whole] = []
        for name in sorted(self.slices):
            slice_ = self.slices[name]
            for key in list(slice_.body.held):
                for session in slice_.body.of(key):
                    whole = whole_session(self.slices, self._gap, slice_, session)
                    if whole.parts[0][1] is session and self._unseen(whole):
                        changed.append(whole)
            for at in range(0, len(changed), _CHUNK):
                yield from self._show(changed[at : at + _CHUNK], watermark, complete=False)
            changed = []

    def horizon(self) -> int | None:
        if any(slice_.body.live for slice_ in self.slices.values()):
            return self._latest + self._lateness
        self._latest = NEVER
        return None

    def gauges(self) -> Mapping[str, int]:
        bodies = [slice_.body for slice_ in self.slices.values()]
        return {
            "window_open": sum(body.live for body in bodies),
            "window_keys": sum(len(body.held) for body in bodies),
        }

    # --- adding ---

    def _late(self, rows: Rows, marks: Sequence[int]) -> list[int]:
        """Events whose own session would be over, unless they belong to one that is still held."""
        wait = self._gap + self._lateness
        late = []
        for row, (time, mark) in enumerate(zip(rows.times, marks, strict=True)):
            if time + wait <= mark and not any(
                self._touches(session, time)
                for slice_ in self.slices.values()
                for session in slice_.body.of(rows.keys[row])
            ):
                late.append(row)
        return late

    def _touches(self, session: Session, time: int) -> bool:
        return session.start - self._gap < time < session.last + self._gap

    def _place_all(self, rows: Rows, body: SessionBody) -> list[int]:
        """The session of each event, by number."""
        numbers: list[int] = []
        moved: dict[int, int] = {}
        get, changed, gap = body.held.get, body.changed, self._gap
        for key, time in zip(rows.keys, rows.times, strict=True):
            held = get(key)
            session = held[-1] if isinstance(held, list) else held
            if session is None:
                session = self._open(rows.slice, key, time)
            # The usual case, an event that belongs to the latest session of its key.
            elif session.start <= time < session.last + gap:
                if time > session.last:
                    session.last = time
                    if session.fired:
                        self._reopen(rows.slice, session)
            else:
                session = self._place(rows.slice, key, time, moved)
            number = session.number
            changed[number] = session
            numbers.append(number)
        if moved:
            numbers = [_follow(moved, number) for number in numbers]
        self._latest = max(self._latest, max(rows.times) + gap)
        return numbers

    def _open(self, slice_: Slice, key: Key, time: int) -> Session:
        session: Session = slice_.body.open(key, time)
        self._queue_up(slice_, session, time + self._gap)
        return session

    def _place(self, slice_: Slice, key: Key, time: int, moved: dict[int, int]) -> Session:
        body: SessionBody = slice_.body
        near = [session for session in body.of(key) if self._touches(session, time)]
        if not near:
            return self._open(slice_, key, time)
        near.sort(key=lambda session: session.number)
        session = near[0]
        # Before what follows, which may merge it: its place among the others goes by its start.
        session.start = min(session.start, time)
        session.last = max(session.last, time)
        for other in near[1:]:
            moved[other.number] = session.number
            body.merge(session, other)
        if session.fired:
            self._reopen(slice_, session)
        return session

    def _reopen(self, slice_: Slice, session: Session) -> None:
        """More has come for a session that had been emitted."""
        session.fired = False
        self._queue_up(slice_, session, session.last + self._gap)

    def _queue_up(self, slice_: Slice, session: Session, at: int) -> None:
        entry = (at, slice_.name, session.number, next(self._serial), session)
        heapq.heappush(self._queue, entry)

    # --- emitting ---

    def _due(self, watermark: int) -> list[Whole]:
        """Up to a chunk of sessions that are over, in the order of their ends."""
        due: list[Whole] = []
        taken: set[int] = set()
        while self._queue and self._queue[0][0] <= watermark and len(due) < _CHUNK:
            at, name, _, _, session = heapq.heappop(self._queue)
            slice_ = self.slices.get(name)
            if slice_ is None or id(session) in taken:
                continue
            if not slice_.body.holds(session):
                continue  # merged or emitted with another one
            whole = whole_session(self.slices, self._gap, slice_, session)
            kept_until = whole.end + self._lateness
            if whole.end > at:
                # It has grown since. Also if it is over: results come in the order of their ends.
                self._queue_up(slice_, session, whole.end)
            elif not all(part.fired for _, part in whole.parts):
                taken.update(id(part) for _, part in whole.parts)
                due.append(whole)
            elif kept_until > watermark:
                self._queue_up(slice_, session, kept_until)
            else:
                for other, part in whole.parts:
                    other.body.close(part)
        return due

    def _unseen(self, whole: Whole) -> int:
        return sum(s.body.cells[0][part.number] - part.seen for s, part in whole.parts)

    def _show(
        self, sessions: list[Whole], watermark: int | None, *, complete: bool
    ) -> Iterator[list[Chunk]]:
        """Rows of some sessions, by the partition that owns them."""
        owned: dict[str, list[Whole]] = {}
        for whole in sessions:
            owned.setdefault(whole.parts[0][0].name, []).append(whole)
        for mine in owned.values():
            yield [self._chunk(mine, watermark, complete)]

    def _chunk(self, sessions: list[Whole], watermark: int | None, complete: bool) -> Chunk:
        """Rows of one partition's sessions; those that are complete and over are forgotten."""
        chunk = Chunk(sessions[0].parts[0][0], [], [])
        values = self._columns.results(self._merged(sessions), range(len(sessions)))
        names = self._columns.names
        for whole, shown in zip(sessions, values, strict=True):
            owner, first = whole.parts[0]
            pane = sum(part.rows for _, part in whole.parts)
            mark = whole.end if complete and not pane else watermark
            span = whole.start, whole.end
            chunk.values.append(self._results.row(span, first.key, pane, (names, shown), mark))
            chunk.times.append(whole.end)
            over = complete and whole.end + self._lateness <= (watermark or NEVER)
            for slice_, part in whole.parts:
                if over:
                    slice_.body.close(part)
                else:
                    self._mark(slice_, part, complete)
            if not over:
                first.rows += 1
                if complete:
                    self._queue_up(owner, first, whole.end + self._lateness)
        return chunk

    def _mark(self, slice_: Slice, part: Session, complete: bool) -> None:
        part.fired = complete
        part.seen = slice_.body.cells[0][part.number]
        slice_.body.changed[part.number] = part

    def _merged(self, sessions: list[Whole]) -> list[Cells]:
        """The cells of each session, by its place in the list."""
        columns: list[Cells] = []
        for number, aggregate in enumerate(self._columns.aggregates):
            cells: Cells = {}
            for at, whole in enumerate(sessions):
                held = [s.body.cells[number].get(part.number) for s, part in whole.parts]
                parts: list[Cells] = [{at: cell} for cell in held if cell is not None]
                if parts:
                    cells.update(aggregate.combine(parts))
            columns.append(cells)
        return columns


def _follow(moved: dict[int, int], number: int) -> Any:
    while number in moved:
        number = moved[number]
    return number
