"""What one partition holds of sessions.

Sessions grow and merge, so they are written as they are, not as what has been added. A checkpoint
writes one piece: the sessions that have changed and the numbers of those that are over. When the
pieces hold much more than what is alive, all that is alive is written as one piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from streamd_windows.aggregates import Aggregate, Cells
from streamd_windows.keys import Key
from streamd_windows.packing import key_of, pack, unpack
from streamd_windows.slices import SubKey

_SLACK = 64


class Session(Struct, gc=False):
    """A run of events of one key, as far as one partition has it. Times are in ms.

    `rows` counts the results that have shown it, `seen` the events that they had counted; `fired`
    tells that it has been emitted as complete and only waits for late events. `changed`: the next
    checkpoint has to write it. `stored`: a piece holds it. `over`: closed, or merged into another.
    """

    key: Key
    start: int
    last: int
    number: int
    rows: int = 0
    seen: int = 0
    fired: bool = False
    changed: bool = False
    stored: bool = False
    over: bool = False


class SessionBody:
    """Sessions by key, and their cells by session number.

    `latest` has the last session of each key, `earlier` the others, of the few keys that have
    others: an event belongs to the last one, nearly always.
    """

    __slots__ = (
        "_aggregates",
        "_first",
        "_gone",
        "_next",
        "_peak",
        "_stored",
        "cells",
        "changed",
        "earlier",
        "latest",
        "live",
        "next_number",
        "partition",
    )

    def __init__(self, aggregates: Sequence[Aggregate], partition: str) -> None:
        self.partition = partition
        self.latest: dict[Key, Session] = {}
        self.earlier: dict[Key, list[Session]] = {}
        self.cells: list[Cells] = [aggregate.cells() for aggregate in aggregates]
        self.changed: dict[int, Session] = {}
        self.live = 0
        self.next_number = 0
        self._aggregates = aggregates
        self._gone: list[int] = []
        self._peak = 0
        self._first = 0
        self._next = 0
        self._stored = 0

    def of(self, key: Key) -> list[Session]:
        """The sessions of a key, the earliest first."""
        latest = self.latest.get(key)
        return [] if latest is None else [*self.earlier.get(key, ()), latest]

    def __iter__(self) -> Iterator[Session]:
        for key, latest in self.latest.items():
            yield from self.earlier.get(key, ())
            yield latest

    def open(self, key: Key, time: int) -> Session:
        """A new session of one event."""
        number = self.next_number
        self.next_number = number + 1
        self.live += 1
        session = Session(key, time, time, number)
        latest = self.latest.get(key)
        if latest is not None:
            if time < latest.start:
                self._keep(key, [*self.of(key), session])
                return session
            self.earlier.setdefault(key, []).append(latest)
        self.latest[key] = session
        return session

    def note(self, session: Session) -> None:
        """The next checkpoint has to write it."""
        session.changed = True
        self.changed[session.number] = session

    def close(self, session: Session) -> None:
        """Forget a session and its cells."""
        key, number = session.key, session.number
        earlier = self.earlier.get(key)
        if earlier is None:
            del self.latest[key]
        elif len(earlier) == 1 and earlier[0] is session:
            del self.earlier[key]
        else:
            self._keep(key, [other for other in self.of(key) if other is not session])
        session.over = True
        self.live -= 1
        if session.changed:
            del self.changed[number]
        if session.stored:
            self._gone.append(number)
        for cells in self.cells:
            cells.pop(number, None)

    def merge(self, into: Session, other: Session) -> None:
        """Two sessions turn out to be one."""
        into.start = min(into.start, other.start)
        into.last = max(into.last, other.last)
        into.rows += other.rows
        into.seen += other.seen
        parts = [cells.get(other.number) for cells in self.cells]
        self.close(other)
        self._keep(into.key, self.of(into.key))
        for aggregate, cells, part in zip(self._aggregates, self.cells, parts, strict=True):
            if part is not None:
                aggregate.absorb(cells, {into.number: part})

    def _keep(self, key: Key, sessions: list[Session]) -> None:
        """These are the sessions of the key, at least one."""
        *earlier, self.latest[key] = sorted(sessions, key=_start)
        if earlier:
            self.earlier[key] = earlier
        else:
            self.earlier.pop(key, None)

    def changes(self) -> Iterator[tuple[SubKey, bytes | None]]:
        changed, gone = self.changed, self._gone
        if not changed and not gone:
            return
        self.changed, self._gone = {}, []
        for session in changed.values():
            session.changed = False
        self._shrink()
        self._stored += len(changed) + len(gone)
        sessions = list(changed.values())
        if self._stored > 2 * self.live + _SLACK or not self.live:
            yield from ((("s", number), None) for number in range(self._first, self._next))
            self._first, self._stored = self._next, self.live
            if not self.live:
                return
            sessions, gone = list(self), []
        yield ("s", self._next), self._encode(sessions, gone)
        self._next += 1

    def restore(self, rows: list[tuple[SubKey, bytes]]) -> None:
        entries: dict[int, tuple[Any, ...]] = {}
        pieces = sorted((sub[1], data) for sub, data in rows)
        for _, data in pieces:
            gone, *columns = unpack(data)
            self._stored += len(columns[0]) + len(gone)
            for number in gone:
                entries.pop(number, None)
            entries.update((entry[0], entry) for entry in zip(*columns, strict=True))
        if pieces:
            self._first, self._next = pieces[0][0], pieces[-1][0] + 1
        for number in sorted(entries):
            self._decode(entries[number])

    def _shrink(self) -> None:
        """Give memory back after most sessions have ended: a dict keeps its largest size."""
        self._peak = max(self._peak, self.live)
        if 8 * self.live < self._peak:
            self._peak = self.live
            self.latest = dict(self.latest.items())
            self.earlier = dict(self.earlier.items())
            for number, aggregate in enumerate(self._aggregates):
                cells = aggregate.cells()
                aggregate.absorb(cells, self.cells[number])
                self.cells[number] = cells

    def _encode(self, sessions: list[Session], gone: list[int]) -> bytes:
        """Column by column: much less work, and less text, than session by session."""
        numbers = [session.number for session in sessions]
        for session in sessions:
            session.stored = True
        columns: list[list[Any]] = [
            [session.key for session in sessions],
            [session.start for session in sessions],
            [session.last - session.start for session in sessions],
            [session.rows for session in sessions],
            [session.seen for session in sessions],
            [session.fired for session in sessions],
        ]
        for aggregate, cells in zip(self._aggregates, self.cells, strict=True):
            columns.append(aggregate.encode_all(cells, numbers))
        return pack([gone, numbers, *columns])

    def _decode(self, entry: tuple[Any, ...]) -> None:
        number, packed, start, length, rows, seen, fired, *cells = entry
        self.next_number = number
        session = self.open(key_of(packed), start)
        session.last, session.rows, session.seen = start + length, rows, seen
        session.fired, session.stored = fired, True
        for aggregate, held, cell in zip(self._aggregates, self.cells, cells, strict=True):
            if cell is not None:
                held[number] = aggregate.decode(cell, self.partition)


def _start(session: Session) -> int:
    return session.start
