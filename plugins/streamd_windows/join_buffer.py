"""Events that wait for a partner, on two sides, by key. Time is a number in any unit."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence

from streamd_windows.join_queue import Held, JoinQueue, event_time
from streamd_windows.keys import Key

LEFT, RIGHT = 0, 1

Pair = tuple[Held, Held]

_SLACK = 1000
_FEW = 4
_DOUBTFUL = frozenset({tuple, type(None)})


class JoinBuffer:
    """Finds partners at most `within` apart. The caller says when events are let go.

    A key that is None, or has a part that is, is equal to none: such events only wait.
    """

    def __init__(self, within: float, max_per_key: int | None = None) -> None:
        self.within = within
        self.max_per_key = max_per_key
        self.sizes = [0, 0]
        # In the order of time, for each key.
        self._index: tuple[dict[Key, list[Held]], dict[Key, list[Held]]] = ({}, {})
        self._queue = JoinQueue(within)
        self._dead = 0  # in the queue, at most

    def __len__(self) -> int:
        return self.sizes[LEFT] + self.sizes[RIGHT]

    def __iter__(self) -> Iterator[Held]:
        return iter(self._queue)

    def pairs(self, side: int, events: Sequence[Held]) -> list[Pair]:
        """Events of one side, each with those of the other that match, the earliest first."""
        others, within = self._index[1 - side].get, self.within
        pairs: list[Pair] = []
        for held in events:
            if waiting := others(held.key):
                time = held.time
                if len(waiting) > _FEW:
                    waiting = _between(waiting, time - within, time + within)
                for other in waiting:
                    if -within <= other.time - time <= within:
                        pairs.append((held, other))  # noqa: PERF401 - most have one or two
        return pairs

    def add(self, side: int, events: Sequence[Held]) -> list[Held]:
        """Let events of one side wait; returns those that have to go, where a key is full."""
        self.sizes[side] += len(events)
        self._queue.push(events)
        full: list[Held] = []
        index, most = self._index[side], self.max_per_key
        for held in events:
            key = held.key
            waiting = index.get(key)
            if waiting is not None:
                if waiting[-1].time <= held.time:
                    waiting.append(held)
                else:
                    insort(waiting, held, key=event_time)
                if most is not None and len(waiting) > most:
                    full.append(waiting.pop(0))
            elif key is not None and (type(key) is not tuple or None not in key):
                index[key] = [held]
        for held in full:
            held.dead = True
        self.sizes[side] -= len(full)
        self._dead += len(full)
        if self._dead > len(self) + _SLACK:
            self._queue.sweep()
            self._dead = 0
        return full

    def before(self, time: float, limit: int) -> list[Held]:
        """Let go of up to `limit` events from before this time, the earliest first."""
        gone = self._queue.take(time, limit)
        self._forget(gone)
        return gone

    def oldest(self, number: int) -> list[Held]:
        """Let go of so many of the earliest events."""
        return self.before(float("inf"), number)

    def remove(self, partition: str) -> None:
        """Forget what came from a partition."""
        for held in self:
            if held.partition == partition:
                held.dead = True
                self.sizes[held.side] -= 1
        self._queue.sweep()
        for index in self._index:
            for key, waiting in list(index.items()):
                if left := [held for held in waiting if not held.dead]:
                    index[key] = left
                else:
                    del index[key]

    def _forget(self, gone: list[Held]) -> None:
        """These are dead, the first ones of their keys."""
        crowded: tuple[dict[Key, None], dict[Key, None]] = {}, {}
        for held in gone:
            held.dead = True
            side, key = held.side, held.key
            self.sizes[side] -= 1
            waiting = self._index[side].get(key)
            if waiting is None:
                continue
            if len(waiting) == 1:  # itself
                del self._index[side][key]
            else:
                crowded[side][key] = None
        for index, keys in zip(self._index, crowded, strict=True):
            for key in keys:
                waiting = index[key]
                if waiting[-1].dead:
                    del index[key]
                else:
                    del waiting[: next(at for at, held in enumerate(waiting) if not held.dead)]


def _between(waiting: list[Held], earliest: float, latest: float) -> list[Held]:
    start = bisect_left(waiting, earliest, key=event_time)
    return waiting[start : bisect_right(waiting, latest, start, key=event_time)]


def joinable(key: Key) -> bool:
    """Whether a key can be equal to another one."""
    return None not in key if type(key) is tuple else key is not None


def all_joinable(keys: Iterable[Key]) -> bool:
    """Whether all of them can; with several fields, False is no answer."""
    return _DOUBTFUL.isdisjoint(map(type, keys))
