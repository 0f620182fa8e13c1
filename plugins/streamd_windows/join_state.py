"""What one partition's events that wait for a partner are in the store.

A checkpoint writes one piece: what has come, what has found a partner and what was let go before
its time. Events whose time is over need no word: `expired` tells. A piece is removed when the
time of all that it speaks of is over.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

from streamd_windows.join_buffer import Held
from streamd_windows.packing import key_of, pack, pack_event, unpack, unpack_event
from streamd_windows.slices import NEVER, SubKey


class JoinBody:
    """Changes since the last checkpoint, and which pieces there are.

    `expired`: events from before this time (ms) are over; kept for the store alone.
    """

    __slots__ = (
        "_gone",
        "_matched",
        "_new",
        "_next",
        "_next_number",
        "_partition",
        "_pieces",
        "expired",
        "loaded",
    )

    def __init__(self, partition: str) -> None:
        self.expired = NEVER
        # What a restore has found, for the buffer to take over.
        self.loaded: list[Held] = []
        self._partition = partition
        self._new: dict[int, Held] = {}
        self._matched: dict[int, Held] = {}
        self._gone: dict[int, Held] = {}
        self._pieces: list[tuple[int, int]] = []
        self._next = 0
        self._next_number = 0

    def add(self, held: Held) -> None:
        held.number = self._next_number
        self._next_number += 1
        self._new[held.number] = held

    def match(self, held: Held) -> None:
        """The event has found its first partner."""
        held.matched = True
        if held.number not in self._new:
            self._matched[held.number] = held

    def drop(self, held: Held) -> None:
        """The event was let go and `expired` does not say so."""
        if self._new.pop(held.number, None) is None:
            self._gone[held.number] = held
        self._matched.pop(held.number, None)

    def expire(self, before: int) -> None:
        """All events from before this time have been let go."""
        self.expired = before
        self._gone = {n: held for n, held in self._gone.items() if held.time >= before}

    def changes(self) -> Iterator[tuple[SubKey, bytes | None]]:
        while self._pieces and self._pieces[0][0] < self.expired:
            yield ("j", heapq.heappop(self._pieces)[1]), None
        spoken = [*self._new.values(), *self._matched.values(), *self._gone.values()]
        if not spoken:
            return
        entries = [_encode(held) for held in self._new.values()]
        until = int(max(held.time for held in spoken))
        data = pack([until, entries, list(self._matched), list(self._gone)])
        yield ("j", self._next), data
        heapq.heappush(self._pieces, (until, self._next))
        self._next += 1
        self._new, self._matched, self._gone = {}, {}, {}

    def restore(self, rows: list[tuple[SubKey, bytes]]) -> None:
        found: dict[int, Held] = {}
        for number, data in sorted((sub[1], data) for sub, data in rows):
            until, entries, matched, gone = unpack(data)
            heapq.heappush(self._pieces, (until, number))
            self._next = number + 1
            for entry in entries:
                held = _decode(entry, self._partition)
                found[held.number] = held
                self._next_number = max(self._next_number, held.number + 1)
            for name in matched:
                if name in found:
                    found[name].matched = True
            for name in gone:
                found.pop(name, None)
        self.loaded = list(found.values())


def _encode(held: Held) -> list[Any]:
    value = pack_event(held.value)
    place = held.offset, held.nth
    return [held.number, held.side, held.key, held.time, *place, held.matched, value]


def _decode(entry: list[Any], partition: str) -> Held:
    number, side, key, time, offset, nth, matched, value = entry
    place = partition, offset, nth
    return Held(side, key_of(key), time, unpack_event(value), *place, number, matched)
