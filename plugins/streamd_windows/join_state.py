"""What one partition's events that wait for a partner are in the store.

A checkpoint writes one piece: what has come, what has found a partner and what was let go before
its time. Events whose time is over need no word: `expired` tells. A piece is removed when the
time of all that it speaks of is over.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

from streamd_windows.join_queue import Held
from streamd_windows.packing import key_of, pack, pack_event, unpack, unpack_event
from streamd_windows.slices import NEVER, SubKey

_SLACK = 1000


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
        "_sweep_at",
        "expired",
        "loaded",
    )

    def __init__(self, partition: str) -> None:
        self.expired = NEVER
        # What a restore has found, for the buffer to take over.
        self.loaded: list[Held] = []
        self._partition = partition
        # Those that die before the checkpoint stay in the lists until there are many.
        self._new: list[Held] = []
        self._matched: list[Held] = []
        self._gone: list[Held] = []
        self._sweep_at = _SLACK
        self._pieces: list[tuple[int, int]] = []
        self._next = 0
        self._next_number = 0

    def numbers(self, count: int) -> range:
        """Names for so many new events."""
        first = self._next_number
        self._next_number += count
        return range(first, self._next_number)

    def add(self, events: Sequence[Held]) -> None:
        self._new += events

    def match(self, held: Held) -> None:
        """The event has found its first partner."""
        if held.stored:
            self._matched.append(held)

    def drop(self, held: Held) -> None:
        """The event was let go and `expired` does not say so."""
        if held.stored:
            self._gone.append(held)

    def expire(self, before: int) -> None:
        """All events from before this time have been let go."""
        self.expired = before
        if len(self._new) + len(self._matched) + len(self._gone) > self._sweep_at:
            self._sweep()
            self._sweep_at = 2 * (len(self._new) + len(self._matched) + len(self._gone)) + _SLACK

    def changes(self) -> Iterator[tuple[SubKey, bytes | None]]:
        while self._pieces and self._pieces[0][0] < self.expired:
            yield ("j", heapq.heappop(self._pieces)[1]), None
        self._sweep()
        new, matched, gone = self._new, self._matched, self._gone
        spoken = [*new, *matched, *gone]
        if not spoken:
            return
        for held in new:
            held.stored = True
        until = int(max([held.time for held in spoken]))
        numbers = [[held.number for held in events] for events in (matched, gone)]
        yield ("j", self._next), pack([until, _encode(new), *numbers])
        heapq.heappush(self._pieces, (until, self._next))
        self._next += 1
        self._new, self._matched, self._gone = [], [], []

    def restore(self, rows: list[tuple[SubKey, bytes]]) -> None:
        found: dict[int, Held] = {}
        for number, data in sorted((sub[1], data) for sub, data in rows):
            until, columns, matched, gone = unpack(data)
            heapq.heappush(self._pieces, (until, number))
            self._next = number + 1
            for held in _decode(columns, self._partition):
                found[held.number] = held
                self._next_number = max(self._next_number, held.number + 1)
            for name in matched:
                if name in found:
                    found[name].matched = True
            for name in gone:
                found.pop(name, None)
        self.loaded = list(found.values())

    def _sweep(self) -> None:
        self._new = [held for held in self._new if not held.dead]
        self._matched = [held for held in self._matched if not held.dead]
        self._gone = [held for held in self._gone if held.time >= self.expired]


def _encode(events: list[Held]) -> list[Any]:
    """Column by column; all values are one JSON text, which is less work than one each."""
    return [
        [held.number for held in events],
        [held.side for held in events],
        [held.key for held in events],
        [held.time for held in events],
        [held.offset for held in events],
        [held.nth for held in events],
        [held.matched for held in events],
        pack_event([held.value for held in events]),
    ]


def _decode(columns: list[Any], partition: str) -> Iterator[Held]:
    *numbers, values = columns
    for row in zip(*numbers, unpack_event(values), strict=True):
        number, side, key, time, offset, nth, matched, value = row
        place = partition, offset, nth
        yield Held(side, key_of(key), time, value, *place, number, matched, stored=True)
