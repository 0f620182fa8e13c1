"""Events that wait for a partner, by time: what has waited for longest goes first.

Events are sorted into days, lists in the order of arrival; a day is put into the order of time
when its first event has to go.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import chain
from operator import attrgetter
from typing import Any

from msgspec import Struct

from streamd_windows.keys import Key

_DAYS_PER_WAIT = 16


class Held(Struct, gc=False):
    """One event that waits, since a time that is an int or a float.

    `nth` tells events apart that a step has made of one.
    `number` names it in its partition's state. `dead`: let go. `stored`: the store has it.
    """

    side: int
    key: Key
    time: Any
    value: Any
    partition: str = ""
    offset: int = 0
    nth: int = 0
    number: int = 0
    matched: bool = False
    dead: bool = False
    stored: bool = False


event_time = attrgetter("time")


class JoinQueue:
    """Time is a number in any unit; `wait` is about how long events stay."""

    def __init__(self, wait: float) -> None:
        self._day = wait // _DAYS_PER_WAIT or wait / _DAYS_PER_WAIT or 1
        self._today = float("-inf")
        self._near: list[Held] = []
        self._far: dict[float, list[Held]] = {}
        self._order: list[float] = []

    def __iter__(self) -> Iterator[Held]:
        return (held for held in chain(self._near, *self._far.values()) if not held.dead)

    def push(self, events: Iterable[Held]) -> None:
        length, today, sorted_ = self._day, self._today, len(self._near)
        last: float | None = None
        page: list[Held] = []
        for held in events:
            day = held.time // length
            if day != last:
                last, page = day, self._near if day <= today else self._page(day)
            page.append(held)
        if len(self._near) > sorted_:
            self._near.sort(key=event_time)

    def take(self, before: float, limit: int) -> list[Held]:
        """Up to `limit` events from before this time, the earliest first."""
        taken: list[Held] = []
        order = self._order
        while len(taken) < limit:
            near = self._near
            if not near:
                if not order or order[0] * self._day >= before:
                    break
                self._today = heappop(order)
                self._near = sorted(self._far.pop(self._today), key=event_time)
                continue
            count = (
                len(near) if near[-1].time < before else bisect_left(near, before, key=event_time)
            )
            if not count:
                break
            count = min(count, limit - len(taken))
            taken += [held for held in near[:count] if not held.dead]
            del near[:count]
        return taken

    def _page(self, day: float) -> list[Held]:
        page = self._far.get(day)
        if page is None:
            page = self._far[day] = []
            heappush(self._order, day)
        return page

    def sweep(self) -> None:
        """Forget those that are dead already."""
        self._near = [held for held in self._near if not held.dead]
        alive = {
            day: [held for held in events if not held.dead] for day, events in self._far.items()
        }
        self._far = {day: events for day, events in alive.items() if events}
        self._order = list(self._far)
        heapify(self._order)
