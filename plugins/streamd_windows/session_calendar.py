"""When to look at which session again.

A session that grows tells nobody, so that an event costs nothing here: its entry stays where it
is, and moves on when its time comes. Times ahead are sorted into days only, lists without an
order; the day that has come is a heap.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from streamd_windows.session_state import Session
from streamd_windows.slices import NEVER

_DAYS_PER_GAP = 16
_LONGEST_DAY = 10_000  # ms; all the sessions of a day are looked at when it begins

# (time to look, partition, number, session): the order in which sessions are emitted. A session
# may be there twice; comparing never comes as far as to compare two sessions.
Entry = tuple[int, str, int, Session]


class Calendar:
    """Sessions by the time (ms) at which they may be over, or no longer kept for late events."""

    def __init__(self, gap: int, lateness: int) -> None:
        self._gap = gap
        self._lateness = lateness
        self._day = max(1, min(gap // _DAYS_PER_GAP, _LONGEST_DAY))
        self._today = NEVER
        self._near: list[Entry] = []
        self._far: dict[tuple[int, str], list[Session]] = {}
        self._order: list[tuple[int, str]] = []

    def push(self, at: int, partition: str, session: Session) -> None:
        """Look at a session at this time, or before it."""
        day = at // self._day
        if day <= self._today:
            heappush(self._near, (at, partition, session.number, session))
        else:
            self._put_off((day, partition), session)

    def pop(self, upto: int) -> Entry | None:
        """The next session to look at by this time, None if there is none."""
        near, order = self._near, self._order
        while not near:
            if not order or order[0][0] * self._day > upto:
                return None
            self._begin_day()
        return heappop(near) if near[0][0] <= upto else None

    def remove(self, partition: str) -> None:
        """Forget the sessions of a partition."""
        self._near = [entry for entry in self._near if entry[1] != partition]
        heapify(self._near)
        self._far = {page: held for page, held in self._far.items() if page[1] != partition}
        self._order = sorted(self._far)

    def _begin_day(self) -> None:
        gap, lateness, length = self._gap, self._lateness, self._day
        order, near = self._order, self._near
        today = order[0][0]
        self._today = today
        while order and order[0][0] == today:
            page = heappop(order)
            partition = page[1]
            for session in self._far.pop(page):
                if session.over:
                    continue
                at = session.last + gap
                if session.fired:
                    at += lateness
                day = at // length
                if day <= today:
                    near.append((at, partition, session.number, session))
                else:
                    self._put_off((day, partition), session)
        heapify(near)

    def _put_off(self, page: tuple[int, str], session: Session) -> None:
        held = self._far.get(page)
        if held is None:
            self._far[page] = [session]
            heappush(self._order, page)
        else:
            held.append(session)
