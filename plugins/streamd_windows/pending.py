"""Events of a large group that are on their way to its shards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from streamd_windows.aggregates import Order, Table
from streamd_windows.blocks import events_block
from streamd_windows.keys import Key
from streamd_windows.shards import Shard, apart, scatter

# Events stay events if they have more keys than this part of their number.
MOSTLY = 0.5


class Pending:
    """Events by shard. They are told apart while a processor still has their keys in its cache.

    `varied` tells whether most of a sample had a key of their own.
    """

    __slots__ = ("_parts", "_table", "size", "varied")

    def __init__(self, table: Table) -> None:
        self._table = table
        self._parts = apart()
        self.size = 0
        self.varied = True

    def add(
        self, keys: Sequence[Key], values: Sequence[Sequence[Any]], order: Sequence[Order]
    ) -> None:
        """Take events, as `Table.update` does."""
        if not self.size:
            self.varied = len(set(keys)) > MOSTLY * len(keys)
        rows: Iterable[Any] = keys
        if not self._table.bare:
            columns = [keys, order, *values] if self._table.ordered else [keys, *values]
            rows = zip(*columns, strict=True)
        scatter(keys, rows, self._parts)
        self.size += len(keys)

    def spread(self, shards: Sequence[Shard]) -> None:
        """Hand the events over to their shards."""
        for shard, rows in zip(shards, self._parts, strict=True):
            if rows:
                shard.add(self._block(rows), len(rows))
        self._parts, self.size = apart(), 0

    def keep(self, shard: Shard) -> None:
        """Hand all events over to one."""
        if self.size:
            shard.add(self._block([*chain.from_iterable(self._parts)]), self.size)
            self._parts, self.size = apart(), 0

    def _block(self, rows: Sequence[Any]) -> bytes:
        if self._table.bare:
            return events_block(self._table, rows, (), ())
        keys, *columns = zip(*rows, strict=True)
        order = columns.pop(0) if self._table.ordered else ()
        return events_block(self._table, keys, columns, order)
