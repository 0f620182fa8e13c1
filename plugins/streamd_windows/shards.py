"""The keys of a large group, spread over shards: each is small enough for a processor's cache.

In a dict of a million keys each look at one is three waits for memory. So what comes to a large
group is kept as the bytes that go into the store anyway, apart by shard, and merged only when
somebody asks, or when much has come: then one shard at a time, many cells at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar
from zlib import crc32

from streamd.api import Misconfigured
from streamd_windows.aggregates import Cells, Table
from streamd_windows.blocks import cells_block, merge
from streamd_windows.keys import Key
from streamd_windows.packing import pack, packed_key, unpack

T = TypeVar("T")

COUNT = 64  # a power of two
# What waits to be merged is at most twice the cells of the shard, or this much.
WAITING = 1024
# A shard is rewritten when it has more pieces in the store than this,
_PIECES = 200
# or when they hold more than so many times its cells, and some.
_TIMES = 4
_SLACK = 64

OTHER_LAYOUT = (
    "state of windows that another version wrote in another layout: run that version until they are"
    " closed, or set reset_state = true on the stage"
)

# Name of a piece of state in its group: shard, number.
PieceName = tuple[int, int]
Piece = tuple[PieceName, bytes | None]


def shard_of(key: Key) -> int:
    """The same in every run, unlike `hash`: the order of results depends on it."""
    return crc32(key.encode() if type(key) is str else packed_key(key)) & (COUNT - 1)


def apart() -> list[list[Any]]:
    """Nothing yet, for each shard."""
    return [[] for _ in range(COUNT)]


def scatter(keys: Iterable[Key], items: Iterable[T], parts: list[list[T]]) -> list[list[T]]:
    """Add each item to the part of the shard where its key belongs. Returns `parts`."""
    add = [part.append for part in parts]
    for key, item in zip(keys, items, strict=True):  # `shard_of`: a call costs as much again
        add[crc32(key.encode() if type(key) is str else packed_key(key)) & (COUNT - 1)](item)
    return parts


class Shard:
    """Columns of cells (`whole`), and blocks that are still to be merged into them.

    `waiting` counts the events or cells in those.
    """

    __slots__ = (
        "_first",
        "_new",
        "_next",
        "_partition",
        "_rewritten",
        "_stored",
        "_table",
        "blocks",
        "waiting",
        "whole",
    )

    def __init__(self, table: Table, partition: str, first: int = 0) -> None:
        self._table = table
        self._partition = partition
        self.whole: list[Cells] = table.cells()
        self.blocks: list[bytes] = []
        self.waiting = 0
        # The pieces in the store are numbered from `first` up to `next` and hold `stored` cells.
        self._first = self._next = first
        self._stored = 0
        self._new: list[bytes] = []  # what the store does not have
        self._rewritten = False  # ... and whether it replaces what the store has

    def add(self, block: bytes, size: int) -> None:
        """Take a block of so many events or cells, to be merged later."""
        self.blocks.append(block)
        self._new.append(block)
        self.waiting += size
        self._stored += size

    def absorb(self, columns: Sequence[Cells]) -> None:
        """Take cells over, merged at once."""
        self.merge()
        self._new.append(cells_block(self._table, columns, columns[0]))
        self._stored += len(columns[0])
        pairs = zip(self.whole, columns, strict=True)
        for aggregate, (whole, cells) in zip(self._table.aggregates, pairs, strict=True):
            aggregate.absorb(whole, cells)

    def __len__(self) -> int:
        """How many cells are held, about: what waits may be of the same keys."""
        return len(self.whole[0]) + self.waiting

    def overdue(self) -> float:
        """How badly `catch_up` is needed: it is above 1."""
        waits = self.waiting / max(2 * len(self.whole[0]), WAITING, 1)
        return max(waits, self._excess())

    def catch_up(self) -> None:
        """Merge what waits, and rewrite pieces that hold much more than the whole does."""
        self.merge()
        if self._excess() > 1:
            self._stored = len(self.whole[0])
            self._new = [cells_block(self._table, self.whole, self.whole[0])]
            self._rewritten = True

    def merge(self) -> None:
        """Let `whole` hold everything."""
        for block in self.blocks:
            merge(self._table, self.whole, block, self._partition)
        self.blocks = []
        self.waiting = 0

    def take(self, index: int) -> list[Piece]:
        """The pieces to write or (None) to remove since the last call."""
        if not self._new:
            return []
        gone = []
        if self._rewritten:
            gone = self.drop(index)
            self._first, self._rewritten = self._next, False
        piece, self._new = pack([COUNT, *self._new]), []
        self._next += 1
        return [*gone, ((index, self._next - 1), piece)]

    def drop(self, index: int) -> list[Piece]:
        """What removes all pieces from the store."""
        return [((index, number), None) for number in range(self._first, self._next)]

    def restore(self, pieces: Iterable[tuple[int, bytes]]) -> None:
        """Become what the pieces hold. Raises Misconfigured if keys were spread in another way."""
        counted = [*self._table.skipped]
        ordered = sorted(pieces)
        self._first, self._next = ordered[0][0], ordered[-1][0] + 1
        for _, piece in ordered:
            count, *blocks = unpack(piece)
            if count != COUNT:
                raise Misconfigured(OTHER_LAYOUT)
            for block in blocks:
                self._stored += merge(self._table, self.whole, block, self._partition)
            self._table.skipped[:] = counted  # these are nothing new

    def successor(self) -> Shard:
        """An empty one, whose pieces are named after those of this one."""
        return Shard(self._table, self._partition, self._next)

    def _excess(self) -> float:
        """By how much the pieces are more than they should be; above 1 they are."""
        stored = self._stored / (_TIMES * len(self) + _SLACK)
        pieces = 0 if self._rewritten else self._next - self._first
        return max(stored, pieces / _PIECES)
