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

from streamd_windows.aggregates import Aggregate, Cells
from streamd_windows.keys import Key
from streamd_windows.shards import COUNT, Piece, PieceName, Shard, encode, scatter, shard_of

# Cells of a group that is one shard; beyond that it is split.
SPLIT = 32_768
# Cells that a group which is split lets come before it spreads them over its shards.
SPREAD = 8192


class Group:
    """Columns of cells. The first column has a cell for every key.

    Whoever adds to `fresh` calls `settle` after it.
    """

    __slots__ = ("_aggregates", "_gone", "_partition", "_shards", "fresh")

    def __init__(self, aggregates: Sequence[Aggregate], partition: str) -> None:
        self._aggregates = aggregates
        self._partition = partition
        self.fresh: list[Cells] = self._none()
        self._shards = [Shard(aggregates, partition)]
        self._gone: list[Piece] = []

    def __len__(self) -> int:
        """How many cells are held, about: a key may be in what has come of late once more."""
        return len(self.fresh[0]) + sum(len(s.whole[0]) + s.waiting for s in self._shards)

    @property
    def split(self) -> bool:
        """Whether it has shards."""
        return len(self._shards) > 1

    def settle(self) -> None:
        """Keep what is fresh small enough for a processor's cache."""
        came = len(self.fresh[0])
        if self.split and came >= SPREAD:
            self._spread()
            fullest = max(self._shards, key=lambda shard: shard.waiting)
            if fullest.due():  # one at a time: it takes some ms
                fullest.merge()
        elif came >= SPLIT:
            self._split()

    def parts(self, column: int, shard: int | None) -> list[Cells]:
        """The cells of a column, in the order in which they came; of a shard, or all."""
        if shard is not None:
            if not self.split:
                self._split()
            self._spread()
        shards = self._shards if shard is None else [self._shards[shard]]
        for each in shards:
            each.merge()
        held = [each.whole[column] for each in shards]
        return [cells for cells in (*held, self.fresh[column]) if cells]

    def value(self, column: int, key: Key) -> int:
        """A count's cell, 0 where there is none."""
        shard = self._shards[shard_of(key) if self.split else 0]
        if shard.waiting:
            shard.merge()
        count: int = shard.whole[column].get(key, 0) + self.fresh[column].get(key, 0)
        return count

    def take(self) -> list[Piece]:
        """The pieces to write or (None) to remove since the last call, by name."""
        if self.split:
            self._spread()
        elif self.fresh[0]:
            self._shards[0].absorb(self.fresh)
            self.fresh = self._none()
            if len(self._shards[0].whole[0]) > SPLIT:
                self._split()
        gone, self._gone = self._gone, []
        taken = [shard.take(index) for index, shard in enumerate(self._shards)]
        return [*gone, *(piece for pieces in taken for piece in pieces)]

    def drop(self) -> list[Piece]:
        """What removes all pieces from the store."""
        held = [shard.drop(index) for index, shard in enumerate(self._shards)]
        return [*self._gone, *(piece for pieces in held for piece in pieces)]

    def restore(self, pieces: Iterable[tuple[PieceName, bytes]]) -> None:
        """Become what the pieces hold."""
        found: dict[int, list[tuple[int, bytes]]] = {}
        for (index, number), data in pieces:
            found.setdefault(index, []).append((number, data))
        if max(found) > 0:
            self._shards = [Shard(self._aggregates, self._partition) for _ in range(COUNT)]
        for index in sorted(found):
            self._shards[index].restore(found[index])

    def _none(self) -> list[Cells]:
        return [aggregate.cells() for aggregate in self._aggregates]

    def _spread(self) -> None:
        if not self.fresh[0]:
            return
        for shard, keys in zip(self._shards, scatter(self.fresh[0]), strict=True):
            if keys:
                shard.add(encode(self._aggregates, self.fresh, keys), len(keys))
        self.fresh = self._none()

    def _split(self) -> None:
        """From now on by shard."""
        one = self._shards[0]
        self._gone += one.drop(0)
        self._shards = one.split()
        self._spread()
