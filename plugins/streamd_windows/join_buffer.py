"""Events that wait for a partner, on two sides, by key. Time is a number in any unit."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count
from typing import Any

from msgspec import Struct

from streamd_windows.keys import Key

LEFT, RIGHT = 0, 1


class Held(Struct, gc=False):
    """One event that waits. `nth` tells events apart that a step has made of one.

    `number` names it in its partition's state. `dead`: let go, but still in a queue.
    """

    side: int
    key: Key
    time: float
    value: Any
    partition: str = ""
    offset: int = 0
    nth: int = 0
    number: int = 0
    matched: bool = False
    dead: bool = False


class JoinBuffer:
    """Finds partners at most `within` apart. The caller says when events are let go.

    A key that is None, or has a part that is, is equal to none: such events only wait.
    """

    def __init__(self, within: float, max_per_key: int | None = None) -> None:
        self.within = within
        self.max_per_key = max_per_key
        self.sizes = [0, 0]
        self._index: tuple[dict[Key, list[Held]], dict[Key, list[Held]]] = ({}, {})
        self._queue: list[tuple[float, int, Held]] = []
        self._serial = count()

    def __len__(self) -> int:
        return self.sizes[LEFT] + self.sizes[RIGHT]

    def partners(self, held: Held) -> list[Held]:
        """The events of the other side that match, in the order in which they came."""
        others = self._index[1 - held.side].get(held.key)
        if not others:
            return []
        earliest, latest = held.time - self.within, held.time + self.within
        return [other for other in others if earliest <= other.time <= latest]

    def add(self, held: Held) -> Held | None:
        """Let an event wait; returns another one that has to go for it, if its key is full."""
        self.sizes[held.side] += 1
        heapq.heappush(self._queue, (held.time, next(self._serial), held))
        if not joinable(held.key):
            return None
        waiting = self._index[held.side].setdefault(held.key, [])
        waiting.append(held)
        if self.max_per_key is None or len(waiting) <= self.max_per_key:
            return None
        oldest = waiting.pop(0)
        self._let_go(oldest)
        return oldest

    def before(self, time: float, limit: int) -> list[Held]:
        """Let go of up to `limit` events from before this time, the earliest first."""
        gone: list[Held] = []
        while self._queue and self._queue[0][0] < time and len(gone) < limit:
            held = heapq.heappop(self._queue)[2]
            if not held.dead:
                gone.append(held)
        self._forget(gone)
        return gone

    def oldest(self, number: int) -> list[Held]:
        """Let go of so many of the earliest events."""
        return self.before(float("inf"), number)

    def earliest(self) -> float | None:
        """Time of the first event that waits, or of one that has been let go since."""
        return self._queue[0][0] if self._queue else None

    def remove(self, partition: str) -> None:
        """Forget what came from a partition."""
        self._forget([held for held in self if held.partition == partition])
        self._queue = [entry for entry in self._queue if not entry[2].dead]
        heapq.heapify(self._queue)

    def __iter__(self) -> Iterator[Held]:
        return (held for _, _, held in self._queue if not held.dead)

    def _let_go(self, held: Held) -> None:
        held.dead = True
        self.sizes[held.side] -= 1

    def _forget(self, gone: list[Held]) -> None:
        touched: set[tuple[int, Key]] = set()
        for held in gone:
            self._let_go(held)
            touched.add((held.side, held.key))
        for side, key in touched:
            # Once per key, whatever the number that goes: lists of one key may be long.
            waiting = [held for held in self._index[side].get(key, ()) if not held.dead]
            if waiting:
                self._index[side][key] = waiting
            else:
                self._index[side].pop(key, None)


def joinable(key: Key) -> bool:
    """Whether a key can be equal to another one."""
    return None not in key if type(key) is tuple else key is not None
