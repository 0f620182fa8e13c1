"""Session windows: events of a key belong together while none follows later than the gap.

An event at the very end of the gap starts a new session. A late event that lies between two
sessions merges them. A key may come by several partitions: each has its own runs, and those that
overlap are one session when it is emitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from streamd_windows.keys import Key
from streamd_windows.results import ResultRows
from streamd_windows.rows import Chunk, Columns, Rows
from streamd_windows.session_calendar import Calendar
from streamd_windows.session_state import Session, SessionBody
from streamd_windows.session_whole import Whole, shown, whole_session
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
        self.slices = Slices(partial(SessionBody, columns.table.aggregates))
        self.counted: dict[str, int] = {}
        self.repeatable = not (lateness or repeats)
        self._gap = gap
        self._columns = columns
        self._results = results
        self._lateness = lateness
        self._calendar = Calendar(gap, lateness)
        self._latest = NEVER

    def restored(self, slice_: Slice) -> None:
        for session in slice_.body:
            end = session.last + self._gap
            self._latest = max(self._latest, end)
            self._calendar.push(end, slice_.name, session)

    def revoked(self, slice_: Slice) -> None:
        self._calendar.remove(slice_.name)

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
            self._columns.table.update(body.cells, numbers, rows.fields, rows.order)
        return late

    def immediate(self, watermark: int | None) -> list[Chunk]:  # noqa: ARG002
        return []

    def advance(self, watermark: int) -> Iterator[list[Chunk]]:
        while due := self._due(watermark):
            yield self._show(due, watermark, complete=True)

    def early(self, watermark: int | None) -> Iterator[list[Chunk]]:
        changed: list[Whole] = []
        for name in sorted(self.slices):
            slice_ = self.slices[name]
            for session in slice_.body:
                whole = whole_session(self.slices, self._gap, slice_, session)
                if whole.first is session and self._unseen(whole):
                    changed.append(whole)
            for at in range(0, len(changed), _CHUNK):
                yield self._show(changed[at : at + _CHUNK], watermark, complete=False)
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
            "window_keys": sum(len(body.latest) for body in bodies),
        }

    # --- adding ---

    def _late(self, rows: Rows, marks: Sequence[int]) -> list[int]:
        """Events whose own session would be over, unless they belong to one that is still held."""
        gap, lateness, over = self._gap, self._lateness, rows.slice.over
        late = []
        for row, (time, mark) in enumerate(zip(rows.times, marks, strict=True)):
            if time + gap <= max(mark - lateness, over) and not any(
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
        latest, gap, note = body.latest.get, self._gap, body.note
        for key, time in zip(rows.keys, rows.times, strict=True):
            session = latest(key)
            if session is None or time >= session.last + gap:
                session = self._open(rows.slice, key, time)
            elif time < session.start:
                session = self._place(rows.slice, key, time, moved)
            elif time > session.last:  # the usual case
                session.last = time
            if session.fired:
                self._reopen(rows.slice, session)
            if not session.changed:
                note(session)
            numbers.append(session.number)
        if moved:
            numbers = [_follow(moved, number) for number in numbers]
        self._latest = max(self._latest, max(rows.times) + gap)
        return numbers

    def _open(self, slice_: Slice, key: Key, time: int) -> Session:
        session: Session = slice_.body.open(key, time)
        self._calendar.push(time + self._gap, slice_.name, session)
        return session

    def _place(self, slice_: Slice, key: Key, time: int, moved: dict[int, int]) -> Session:
        """The session of an event that comes before the last one of its key."""
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
        return session

    def _reopen(self, slice_: Slice, session: Session) -> None:
        """More has come for a session that had been emitted."""
        session.fired = False
        self._calendar.push(session.last + self._gap, slice_.name, session)

    # --- emitting ---

    def _due(self, watermark: int) -> list[Whole]:
        """Up to a chunk of sessions that are over, in the order of their ends."""
        due: list[Whole] = []
        taken: set[int] = set()
        pop, push = self._calendar.pop, self._calendar.push
        while len(due) < _CHUNK and (entry := pop(watermark)) is not None:
            at, name, _, session = entry
            if session.over or id(session) in taken:
                continue
            slice_ = self.slices[name]
            whole = whole_session(self.slices, self._gap, slice_, session)
            kept_until = whole.end + self._lateness
            if whole.end > at:
                # It has grown since. Also if it is over: results come in the order of their ends.
                push(whole.end, name, session)
            elif not whole.fired():
                taken.add(id(whole.first))
                taken.update(id(part) for _, part in whole.others)
                due.append(whole)
            elif kept_until > watermark:
                push(kept_until, name, session)
            else:
                self._forget(whole)
        return due

    def _unseen(self, whole: Whole) -> int:
        return sum(s.body.cells[0][part.number] - part.seen for s, part in whole.parts())

    def _show(self, sessions: list[Whole], watermark: int | None, *, complete: bool) -> list[Chunk]:
        """Rows of some sessions, by the partition that owns them."""
        owned: dict[str, list[Whole]] = {}
        for whole in sessions:
            owned.setdefault(whole.owner.name, []).append(whole)
        return [self._chunk(mine, watermark, complete) for mine in owned.values()]

    def _chunk(self, sessions: list[Whole], watermark: int | None, complete: bool) -> Chunk:
        """Rows of one partition's sessions; those that are complete and over are forgotten."""
        windows = []
        for whole in sessions:
            pane = whole.pane()
            mark = whole.end if complete and not pane else watermark
            windows.append((whole.start, whole.end, whole.first.key, pane, mark))
        values = shown(self._columns, sessions)
        names, grow = self._columns.names, not self.repeatable
        rows = self._results.each(windows, names, values, grow=grow)
        over = watermark - self._lateness if complete and watermark is not None else NEVER
        for whole in sessions:
            if whole.end <= over:
                self._forget(whole)
            else:
                self._remember(whole, complete)
        return Chunk(sessions[0].owner, rows, [whole.end for whole in sessions])

    def _forget(self, whole: Whole) -> None:
        whole.owner.body.close(whole.first)
        for slice_, part in whole.others:
            slice_.body.close(part)

    def _remember(self, whole: Whole, complete: bool) -> None:
        """A session has been emitted, and may be emitted once more."""
        whole.first.rows += 1
        for slice_, part in whole.parts():
            part.fired = complete
            part.seen = slice_.body.cells[0][part.number]
            slice_.body.note(part)
            if complete:
                self._calendar.push(whole.end + self._lateness, slice_.name, part)


def _follow(moved: dict[int, int], number: int) -> Any:
    while number in moved:
        number = moved[number]
    return number
