"""Cells that remember what has changed: the state of one pane of one partition.

What comes is itself a small aggregate (`fresh`). A checkpoint writes that, as one piece, and merges
it into the whole: its cost follows what came, whatever is held, and a set of users or a list of
numbers is never written twice. Reading the pieces back in their order and merging them gives the
whole again. When the pieces hold much more than the whole does, the whole is written as one piece
and the others go.

A group with many keys is split into shards, and what comes to it goes there as bytes: cells, or
the events themselves where most keys come but once before they go there. Adding these up first
would be in vain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from streamd.api import Misconfigured
from streamd_windows.aggregates import Cells, Order, Table
from streamd_windows.blocks import cells_block
from streamd_windows.keys import Key
from streamd_windows.pending import MOSTLY, Pending
from streamd_windows.shards import (
    COUNT,
    OTHER_LAYOUT,
    Piece,
    PieceName,
    Shard,
    apart,
    scatter,
    shard_of,
)

# Cells of a group that is one shard, all columns together; beyond that it is split. With more, one
# checkpoint would merge and encode tens of thousands of cells in one call.
SPLIT = 49_152
# What a group that is split lets come before it spreads it over its shards: events or cells.
SPREAD = 8192
# What shards have that are brought up to date in one call, about.
_AT_ONCE = 32_768


class Group:
    """Columns of cells. The first column has a cell for every key.

    Whoever adds to `fresh` calls `settle` after it.
    """

    __slots__ = (
        "_gone",
        "_partition",
        "_pending",
        "_pends",
        "_recent",
        "_table",
        "fresh",
        "shards",
    )

    def __init__(self, table: Table, partition: str) -> None:
        self._table = table
        self._partition = partition
        self.fresh: list[Cells] = table.cells()
        # All that has been stored of a small group; of a split one what came last.
        self._recent = Shard(table, partition)
        self.shards: list[Shard] = []
        self._gone: list[Piece] = []
        # Of a split group: events that are not cells yet, and whether the next ones go there too.
        self._pending: Pending | None = None
        self._pends = False

    def __len__(self) -> int:
        """How many cells are held, about: a key may be in what has come of late once more."""
        return self._came() + len(self._recent) + sum(map(len, self.shards))

    def add(
        self, keys: Sequence[Key], values: Sequence[Sequence[Any]], order: Sequence[Order]
    ) -> None:
        """Take events, as `Table.update` does."""
        if self._pends:
            self._pending = self._pending or Pending(self._table)
            self._pending.add(keys, values, order)
        else:
            self._table.update(self.fresh, keys, values, order)
        self.settle()

    def settle(self) -> None:
        """Keep what is fresh small enough for a processor's cache."""
        came = self._came() + (len(self._recent) if self.shards else 0)
        if came >= self._most():
            self._spread()
            self._catch_up()

    def parts(self, column: int, shard: int | None) -> list[Cells]:
        """The cells of a column, in the order in which they came; of a shard, or all."""
        if shard is not None:
            self._spread()
        self._keep()
        shards = [*self.shards, self._recent] if shard is None else [self.shards[shard]]
        for each in shards:
            if each.waiting:
                each.merge()
        held = [each.whole[column] for each in shards]
        return [cells for cells in (*held, self.fresh[column]) if cells]

    def value(self, column: int, key: Key) -> int:
        """A count's cell, 0 where there is none."""
        self._keep()
        held = [self._recent, self.shards[shard_of(key)]] if self.shards else [self._recent]
        for each in held:
            if each.waiting:
                each.merge()
        counts = [each.whole[column] for each in held]
        return sum(count.get(key, 0) for count in (*counts, self.fresh[column]))

    def merge(self) -> None:
        """Let nothing wait: only what has been merged has had its useless values counted."""
        self._keep()
        for shard in (self._recent, *self.shards):
            shard.merge()

    def take(self) -> list[Piece]:
        """The pieces to write or (None) to remove since the last call, by name."""
        self._keep()
        if self.fresh[0]:
            self._recent.absorb(self.fresh)
            self.fresh = self._table.cells()
        if len(self._recent) >= self._most():
            self._spread()
        self._catch_up()
        gone, self._gone = self._gone, []
        taken = [shard.take(index) for index, shard in enumerate([self._recent, *self.shards])]
        return [*gone, *(piece for pieces in taken for piece in pieces)]

    def drop(self) -> list[Piece]:
        """What removes all pieces from the store."""
        held = [shard.drop(index) for index, shard in enumerate([self._recent, *self.shards])]
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
        shards = [self._recent, *self.shards]
        for index in sorted(found):
            shards[index].restore(found[index])

    def _came(self) -> int:
        """What has come since the last time that it was stored or spread."""
        return len(self.fresh[0]) + (self._pending.size if self._pending else 0)

    def _most(self) -> int:
        """How many may come before they are spread."""
        return SPREAD if self.shards else SPLIT // len(self.fresh)

    def _split(self) -> None:
        self.shards = [Shard(self._table, self._partition) for _ in range(COUNT)]

    def _spread(self) -> None:
        """All that is recent and fresh goes to the shards, in this order."""
        if not self.shards:
            self._split()
        if self._recent:
            self._recent.merge()
            self._spread_cells(self._recent.whole)
            self._gone += self._recent.drop(0)
            self._recent = self._recent.successor()
        if self._pending:
            self._pends = self._pending.varied()
            self._pending.spread(self.shards)
            self._pending = None
        if self.fresh[0]:
            keys = self.fresh[0]
            self._pends = len(keys) > MOSTLY * sum(keys.values())
            self._spread_cells(self.fresh)
            self.fresh = self._table.cells()

    def _keep(self) -> None:
        """Let `recent` have what is pending."""
        if self._pending:
            self._pends = self._pending.varied()
            self._pending.keep(self._recent)
            self._pending = None
            if self._recent.overdue() > 1:
                self._recent.catch_up()

    def _spread_cells(self, columns: Sequence[Cells]) -> None:
        keys = columns[0]
        for shard, some in zip(self.shards, scatter(keys, keys, apart()), strict=True):
            if some:
                shard.add(cells_block(self._table, columns, some), len(some))

    def _catch_up(self) -> None:
        """Merge what is overdue, but a part only: a call takes tens of ms at most."""
        cells = 0
        for shard in sorted((self._recent, *self.shards), key=Shard.overdue, reverse=True):
            if cells >= _AT_ONCE or shard.overdue() <= 1:
                break
            cells += len(shard)
            shard.catch_up()
