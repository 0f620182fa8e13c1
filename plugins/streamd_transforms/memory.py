"""What has been seen: keys with their time, a slice per source partition, old ones forgotten.

Everything here is a function of the rows of a partition in their order, whatever the batches: a
replay from a checkpoint comes to the same verdicts. So keys are forgotten row by row, the oldest
first, never by batch or by clock, and a verdict asks how far two times lie apart, not whether a
key happens to be still held. There is no watermark: a wild timestamp costs two keys at most.
"""

from __future__ import annotations

import math
import struct
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

_VALUE: Final = struct.Struct("<qq")  # number, time
_MOST: Final = (1 << 63) - 1
_NONE: Final = math.inf
_FORGOTTEN_PER_ROW: Final = 2
"""More than the one key that a row adds, so that old keys go; few, so that no row is slow and a
single timestamp from the future cannot empty the memory."""


class Slice:
    """The keys of one partition, oldest first. `owners` is where keys of all slices are found."""

    __slots__ = ("changed", "number", "oldest", "owners", "times")

    def __init__(self, owners: dict[bytes, Slice]) -> None:
        self.owners = owners
        self.times: OrderedDict[bytes, int] = OrderedDict()
        self.changed: dict[bytes, int] = {}
        self.number = 0
        self.oldest: float = _NONE

    def add(self, key: bytes, time: int) -> None:
        """Remember a key that no slice holds."""
        self.number += 1
        self.owners[key] = self
        self.times[key] = time
        self.changed[key] = self.number
        if self.oldest == _NONE:
            self.oldest = time

    def drop(self, key: bytes) -> None:
        """Forget a key that this slice holds."""
        del self.owners[key]
        del self.times[key]
        self.changed[key] = 0
        self.oldest = next(iter(self.times.values()), _NONE)

    def drop_oldest(self) -> None:
        self.drop(next(iter(self.times)))


class Memory:
    """Keys seen, by source partition.

    Args:
        ttl: how long a key is remembered, ms.
        max_keys: most keys of one partition.
        shared: whether a key seen in one partition counts in the others too.

    Attributes:
        evicted: keys forgotten before their time because there were too many.
    """

    def __init__(self, ttl: int, max_keys: int, *, shared: bool) -> None:
        self._ttl = ttl
        self._max_keys = max_keys
        self._owners: dict[bytes, Slice] | None = {} if shared else None
        self._slices: dict[str, Slice] = {}
        self._homes: dict[str, Slice] = {}
        self.evicted = 0

    def __len__(self) -> int:
        return sum(len(held.times) for held in self._slices.values())

    def unseen(
        self, partition: str, keys: Sequence[bytes | None], times: Sequence[int]
    ) -> list[int]:
        """The indices of the keys that were not seen within the time to live; now they are.

        Args:
            partition: where the rows come from.
            keys: one per row; None is never taken for seen.
            times: one per row, ms since the epoch, in any order.
        """
        ttl, most = self._ttl, self._max_keys
        mine = self._home(partition)
        owners, times_of_mine = mine.owners, mine.times
        unseen = []
        for index, (key, time) in enumerate(zip(keys, times, strict=True)):
            if mine.oldest + ttl <= time:
                _forget(mine, time - ttl)
            if key is None:
                unseen.append(index)
                continue
            owner = owners.get(key)
            if owner is not None:
                known = owner.times[key]
                if -ttl < time - known < ttl:
                    continue
                if time < known:  # far behind: the younger one is worth more
                    unseen.append(index)
                    continue
                owner.drop(key)
            mine.add(key, time)
            unseen.append(index)
            while len(times_of_mine) > most:
                mine.drop_oldest()
                self.evicted += 1
        return unseen

    def assign(self, partitions: Collection[str], rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        """Start slices with what is stored of them. See `Stateful.assign`."""
        self.revoke(partitions)
        stored: dict[str, list[tuple[int, int, bytes]]] = {name: [] for name in partitions}
        for partition, key, value in rows:
            stored[partition].append((*_VALUE.unpack(value), key))
        for partition, found in stored.items():
            held = self._slices[partition] = self._new_slice()
            for number, time, key in sorted(found):
                _restore(held, key, time)
                held.number = number

    def revoke(self, partitions: Collection[str]) -> None:
        """Forget slices. See `Stateful.revoke`."""
        self._homes.clear()
        for partition in partitions:
            held = self._slices.pop(partition, None)
            if held is not None:
                for key in held.times:
                    del held.owners[key]

    def take_changes(self) -> list[tuple[str, bytes, bytes | None]]:
        """What has changed since the last call. See `Stateful.take_changes`."""
        changes: list[tuple[str, bytes, bytes | None]] = []
        for partition, held in self._slices.items():
            changes += [
                (partition, key, None if number == 0 else _packed(number, held.times[key]))
                for key, number in held.changed.items()
            ]
            held.changed.clear()
        return changes

    def _new_slice(self) -> Slice:
        return Slice({} if self._owners is None else self._owners)

    def _home(self, partition: str) -> Slice:
        """The slice of a partition; rows that a step has made (`<step>:<partition>`) belong to
        the source partition behind them, by whose name state is stored and moved."""
        found = self._slices.get(partition) or self._homes.get(partition)
        if found is None:
            behind = [name for name in self._slices if partition.endswith(f":{name}")]
            home = max(behind, key=len, default=partition)
            found = self._homes[partition] = self._slices.setdefault(home, self._new_slice())
        return found


def _packed(number: int, time: int) -> bytes:
    """A record may say anything of its time; what does not fit is as far away as can be."""
    if not -_MOST < time < _MOST:
        time = -_MOST if time < 0 else _MOST
    return _VALUE.pack(number, time)


def _forget(held: Slice, limit: int) -> None:
    """Drop keys that no event of a time after `limit` + the time to live can repeat."""
    for _ in range(_FORGOTTEN_PER_ROW):
        if held.oldest > limit:
            return
        held.drop_oldest()


def _restore(held: Slice, key: bytes, time: int) -> None:
    """Take a stored key over. One that two slices bring along stays where it is younger."""
    other = held.owners.get(key)
    if other is not None:
        if other.times[key] >= time:
            held.changed[key] = 0
            return
        other.drop(key)
    held.owners[key] = held
    held.times[key] = time
    if held.oldest == _NONE:
        held.oldest = time
