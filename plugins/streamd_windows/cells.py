"""Cells that remember what has changed: the state of one pane of one partition.

What comes is itself a small aggregate (`fresh`). A checkpoint writes that, as one piece, and merges
it into the whole: its cost follows what came, whatever is held, and a set of users or a list of
numbers is never written twice. Reading the pieces back in their order and merging them gives the
whole again. When the pieces hold much more than the whole does, the whole is written as one piece
and the others go.

A group with many keys is split into shards, and what comes to it goes there as bytes at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streamd.api import Misconfigured
from streamd_windows.aggregates import Aggregate, Cells
from streamd_windows.keys import Key
from streamd_windows.shards import (
    COUNT,
    OTHER_LAYOUT,
    Piece,
    PieceName,
    Shard,
    encode,
    scatter,
    shard_of,
)

# Cells of a group that is one shard; beyond that it is split.
SPLIT = 65_536
# Cells that a group which is split lets come before it spreads them over its shards.
SPREAD = 8192
# Cells to merge in one call.
_AT_ONCE = 32_768


class Group:
    """Columns of cells. The first column has a cell for every key.

    Whoever adds to `fresh` calls `settle` after it.
    """

    __slots__ = ("_aggregates", "_gone", "_partition", "_recent", "_shards", "fresh")

    def __init__(self, aggregates: Sequence[Aggregate], partition: str) -> None:
        self._aggregates = aggregates
        self._partition = partition
        self.fresh: list[Cells] = self._none()
        # All that has been stored of a small group; of a split one what came last.
        self._recent = Shard(aggregates, partition)
        self._shards: list[Shard] = []
        self._gone: list[Piece] = []

    def __len__(self) -> int:
        """How many cells are held, about: a key may be in what has come of late once more."""
        return len(self.fresh[0]) + len(self._recent) + sum(map(len, self._shards))

    @property
    def split(self) -> bool:
        """Whether it has shards."""
        return bool(self._shards)

    def settle(self) -> None:
        """Keep what is fresh small enough for a processor's cache."""
        if len(self.fresh[0]) >= (SPREAD if self._shards else SPLIT):
            self._spread()
            self._catch_up()

    def parts(self, column: int, shard: int | None) -> list[Cells]:
        """The cells of a column, in the order in which they came; of a shard, or all."""
        if shard is not None:
            self._spread()
        shards = [*self._shards, self._recent] if shard is None else [self._shards[shard]]
        for each in shards:
            if each.waiting:
                each.merge()
        held = [each.whole[column] for each in shards]
        return [cells for cells in (*held, self.fresh[column]) if cells]

    def value(self, column: int, key: Key) -> int:
        """A count's cell, 0 where there is none."""
        count: int = self._recent.whole[column].get(key, 0) + self.fresh[column].get(key, 0)
        if self._shards:
            shard = self._shards[shard_of(key)]
            if shard.waiting:
                shard.merge()
            count += shard.whole[column].get(key, 0)
        return count

    def take(self) -> list[Piece]:
        """The pieces to write or (None) to remove since the last call, by name."""
        if self.fresh[0]:
            self._recent.absorb(self.fresh)
            self.fresh = self._none()
        if len(self._recent) >= (SPREAD if self._shards else SPLIT):
            self._spread()
            self._catch_up()
        gone, self._gone = self._gone, []
        taken = [shard.take(index) for index, shard in enumerate([self._recent, *self._shards])]
        return [*gone, *(piece for pieces in taken for piece in pieces)]

    def drop(self) -> list[Piece]:
        """What removes all pieces from the store."""
        held = [shard.drop(index) for index, shard in enumerate([self._recent, *self._shards])]
        return [*self._gone, *(piece for pieces in held for piece in pieces)]

    def restore(self, pieces: Iterable[tuple[PieceName, bytes]]) -> None:
        """Become what the pieces hold. Raises Misconfigured if they are of another layout."""
        found: dict[int, list[tuple[int, bytes]]] = {}
        for (index, number), data in pieces:
            found.setdefault(index, []).append((number, data))
        if max(found) > COUNT:
            raise Misconfigured(OTHER_LAYOUT)
        if max(found) > 0:
            self._split()
        shards = [self._recent, *self._shards]
        for index in sorted(found):
            shards[index].restore(found[index])

    def _none(self) -> list[Cells]:
        return [aggregate.cells() for aggregate in self._aggregates]

    def _split(self) -> None:
        self._shards = [Shard(self._aggregates, self._partition) for _ in range(COUNT)]

    def _spread(self) -> None:
        """All that is recent and fresh goes to the shards, in this order."""
        if not self._shards:
            self._split()
        for columns in (self._recent.whole, self.fresh):
            if columns[0]:
                for shard, keys in zip(self._shards, scatter(columns[0]), strict=True):
                    if keys:
                        shard.add(encode(self._aggregates, columns, keys), len(keys))
        if self.fresh[0]:
            self.fresh = self._none()
        if self._recent:
            self._gone += self._recent.drop(0)
            self._recent = self._recent.successor()

    def _catch_up(self) -> None:
        """Merge what is overdue, but a part only: a call takes some 10 ms at most."""
        cells = 0
        for shard in sorted(self._shards, key=Shard.overdue, reverse=True):
            if cells >= _AT_ONCE or shard.overdue() <= 1:
                break
            cells += shard.waiting
            shard.merge()
