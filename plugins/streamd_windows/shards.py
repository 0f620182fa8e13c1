"""The keys of a large group, spread over shards: each is small enough for a processor's cache.

In a dict of a million keys each look at one is three waits for memory. So what comes to a large
group is kept as the bytes that go into the store anyway, apart by shard, and merged only when
somebody asks, or when much has come: then one shard at a time, many cells at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from zlib import crc32

from streamd.api import Misconfigured
from streamd_windows.aggregates import Aggregate, Cells
from streamd_windows.keys import Key
from streamd_windows.packing import key_of, pack, pack_block, packed_key, unpack, unpack_block

COUNT = 64  # a power of two
# Cells that wait to be merged are at most twice those of the shard, or this many.
WAITING = 1024
# A shard is rewritten when it has more pieces in the store than this.
_PIECES = 200
# A shard is rewritten, too, when they hold this many cells more than three times its own.
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


def scatter(keys: Iterable[Key]) -> list[list[Key]]:
    """The keys of each shard, in the order given."""
    parts: list[list[Key]] = [[] for _ in range(COUNT)]
    add = [part.append for part in parts]
    for key in keys:  # `shard_of`, spelled out: a call costs as much again
        add[crc32(key.encode() if type(key) is str else packed_key(key)) & (COUNT - 1)](key)
    return parts


class Shard:
    """Columns of cells (`whole`), and blocks of bytes that are still to be merged into them.

    `waiting` counts the cells in those.
    """

    __slots__ = (
        "_aggregates",
        "_blocks",
        "_first",
        "_new",
        "_next",
        "_partition",
        "_rewritten",
        "_stored",
        "waiting",
        "whole",
    )

    def __init__(self, aggregates: Sequence[Aggregate], partition: str, first: int = 0) -> None:
        self._aggregates = aggregates
        self._partition = partition
        self.whole: list[Cells] = [aggregate.cells() for aggregate in aggregates]
        self.waiting = 0
        # The pieces in the store are numbered from `first` up to `next` and hold `stored` cells.
        self._first = self._next = first
        self._stored = 0
        self._blocks: list[bytes] = []
        self._new: list[bytes] = []  # what the store does not have
        self._rewritten = False  # ... and whether it replaces what the store has

    def add(self, block: bytes, cells: int) -> None:
        """Take a block, to be merged later."""
        self._blocks.append(block)
        self._new.append(block)
        self.waiting += cells
        self._stored += cells

    def absorb(self, columns: Sequence[Cells]) -> None:
        """Take cells over, merged at once."""
        self._new.append(encode(self._aggregates, columns, columns[0]))
        self._stored += len(columns[0])
        for aggregate, whole, cells in zip(self._aggregates, self.whole, columns, strict=True):
            aggregate.absorb(whole, cells)
        self._shrink()

    def __len__(self) -> int:
        """How many cells are held, about: what waits may be the same keys again."""
        return len(self.whole[0]) + self.waiting

    def overdue(self) -> float:
        """By how much what waits is beyond where it should be merged; above 1 it is."""
        cells = self.waiting / max(2 * len(self.whole[0]), WAITING, 1)
        return max(cells, self._pieces() / _PIECES)

    def merge(self) -> None:
        """Let `whole` hold everything."""
        for block in self._blocks:
            self._merge(block)
        self._blocks = []
        self.waiting = 0
        self._shrink()

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
        ordered = sorted(pieces)
        self._first, self._next = ordered[0][0], ordered[-1][0] + 1
        for _, piece in ordered:
            count, *blocks = unpack(piece)
            if count != COUNT:
                raise Misconfigured(OTHER_LAYOUT)
            for block in blocks:
                self._stored += self._merge(block)

    def successor(self) -> Shard:
        """An empty one, whose pieces are named after those of this one."""
        return Shard(self._aggregates, self._partition, self._next)

    def _pieces(self) -> int:
        """In the store, unless they are to be replaced."""
        return 0 if self._rewritten else self._next - self._first

    def _merge(self, block: bytes) -> int:
        """Returns how many keys the block has."""
        packed, *columns = unpack_block(block)
        keys = packed if {str}.issuperset(map(type, packed)) else [key_of(key) for key in packed]
        for aggregate, whole, data in zip(self._aggregates, self.whole, columns, strict=True):
            aggregate.absorb_encoded(whole, keys, data, self._partition)
        return len(keys)

    def _shrink(self) -> None:
        """Rather than pieces that hold much more than the whole does, write the whole."""
        many = self._stored > 3 * len(self.whole[0]) + _SLACK
        if many or self._pieces() > _PIECES:
            self._stored = len(self.whole[0])
            self._new = [encode(self._aggregates, self.whole, self.whole[0])]
            self._rewritten = True


def encode(
    aggregates: Sequence[Aggregate], columns: Sequence[Cells], keys: Collection[Key]
) -> bytes:
    """The cells of some keys as a block; all of them must be in the first column."""
    data: list[Any] = [list(keys), list(map(columns[0].__getitem__, keys))]
    for aggregate, cells in zip(aggregates[1:], columns[1:], strict=True):
        to_data, get = aggregate.encode, cells.get
        data.append([None if (cell := get(key)) is None else to_data(cell) for key in keys])
    return pack_block(data)
