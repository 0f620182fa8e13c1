"""Cells that remember what has changed: the state of one pane of one partition.

What an epoch adds is itself a small aggregate (`fresh`). A checkpoint writes that, as one piece,
and merges it into the whole: its cost follows what came, whatever is held, and a set of users or
a list of numbers is never written twice. Reading the pieces back in their order and merging them
gives the whole again. When the pieces hold much more than the whole does, the whole is written as
one piece and the others go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from streamd_windows.aggregates import Aggregate, Cells
from streamd_windows.keys import Key
from streamd_windows.packing import key_of, pack, unpack

# Pieces may hold this many cells more than twice the whole before they are merged.
_SLACK = 64


class Group:
    """Columns of cells. The first column has a cell for every key.

    `whole` has what earlier checkpoints know, `fresh` what has come since.
    """

    __slots__ = ("first", "fresh", "next", "stored", "whole")

    def __init__(self, aggregates: Sequence[Aggregate]) -> None:
        self.whole: list[Cells] = [aggregate.cells() for aggregate in aggregates]
        self.fresh: list[Cells] = [aggregate.cells() for aggregate in aggregates]
        # The pieces that the store has are numbered from `first` up to `next`.
        self.first = 0
        self.next = 0
        self.stored = 0

    def __len__(self) -> int:
        """How many cells are held, about: a key that is both whole and fresh counts twice."""
        return len(self.whole[0]) + len(self.fresh[0])

    def parts(self, column: int) -> list[Cells]:
        """The cells of a column, in the order in which they came: what `combine` takes."""
        return [cells for cells in (self.whole[column], self.fresh[column]) if cells]

    def value(self, column: int, key: Key) -> int:
        """A count's cell, 0 where there is none."""
        count: int = self.whole[column].get(key, 0) + self.fresh[column].get(key, 0)
        return count

    def take(self, aggregates: Sequence[Aggregate]) -> list[tuple[int, bytes | None]]:
        """The pieces to write or (None) to remove since the last call, by number."""
        if not self.fresh[0]:
            return []
        piece = _encode(aggregates, self.fresh)
        self.stored += len(self.fresh[0])
        for aggregate, whole, fresh in zip(aggregates, self.whole, self.fresh, strict=True):
            aggregate.absorb(whole, fresh)
        self.fresh = [aggregate.cells() for aggregate in aggregates]
        gone: list[tuple[int, bytes | None]] = []
        if self.stored > 2 * len(self.whole[0]) + _SLACK:
            piece = _encode(aggregates, self.whole)
            gone = self.drop()
            self.first = self.next
            self.stored = len(self.whole[0])
        self.next += 1
        return [*gone, (self.next - 1, piece)]

    def drop(self) -> list[tuple[int, bytes | None]]:
        """What removes all pieces from the store."""
        return [(number, None) for number in range(self.first, self.next)]

    def restore(
        self, aggregates: Sequence[Aggregate], pieces: Iterable[tuple[int, bytes]], partition: str
    ) -> None:
        """Become what the pieces hold."""
        ordered = sorted(pieces)
        self.first, self.next = ordered[0][0], ordered[-1][0] + 1
        for _, data in ordered:
            columns = _decode(aggregates, data, partition)
            self.stored += len(columns[0])
            for aggregate, whole, cells in zip(aggregates, self.whole, columns, strict=True):
                aggregate.absorb(whole, cells)


def _encode(aggregates: Sequence[Aggregate], columns: Sequence[Cells]) -> bytes:
    keys = list(columns[0])
    data: list[Any] = [keys, list(columns[0].values())]
    for aggregate, cells in zip(aggregates[1:], columns[1:], strict=True):
        encode, get = aggregate.encode, cells.get
        data.append([None if (cell := get(key)) is None else encode(cell) for key in keys])
    return pack(data)


def _decode(aggregates: Sequence[Aggregate], data: bytes, partition: str) -> list[Cells]:
    packed, *columns = unpack(data)
    keys = [key_of(key) for key in packed]
    decoded = []
    for aggregate, column in zip(aggregates, columns, strict=True):
        cells, decode = aggregate.cells(), aggregate.decode
        for key, cell in zip(keys, column, strict=True):
            if cell is not None:
                cells[key] = decode(cell, partition)
        decoded.append(cells)
    return decoded
