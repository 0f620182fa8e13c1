"""Events of a large group that are on their way to its shards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from streamd_windows.aggregates import Order, Table
from streamd_windows.blocks import events_block
from streamd_windows.keys import Key
from streamd_windows.shards import Shard, apart, scatter

# Events stay events if they have more keys than this part of their number, told by each fourth one.
MOSTLY = 0.5
_SAMPLE = 4


class Pending:
    """Events by shard. They are told apart while a processor still has their keys in its cache."""

    __slots__ = ("_parts", "_sample", "_sampled", "_table", "size")

    def __init__(self, table: Table) -> None:
        self._table = table
        self._parts = apart()
        self._sample: set[Key] = set()
        self._sampled = 0
        self.size = 0

    def add(
        self, keys: Sequence[Key], values: Sequence[Sequence[Any]], order: Sequence[Order]
    ) -> None:
        """Take events, as `Table.update` does."""
        some = keys[::_SAMPLE]
        self._sample.update(some)
        self._sampled += len(some)
        rows: Iterable[Any] = keys
        if not self._table.bare:
            columns = [keys, order, *values] if self._table.ordered else [keys, *values]
            rows = zip(*columns, strict=True)
        scatter(keys, rows, self._parts)
        self.size += len(keys)

    def varied(self) -> bool:
        """Whether most of a sample had a key of their own."""
        return len(self._sample) > MOSTLY * self._sampled

    def spread(self, shards: Sequence[Shard]) -> None:
        """Hand the events over to their shards."""
        for shard, rows in zip(shards, self._parts, strict=True):
            if rows:
                shard.add(self._block(rows), len(rows))

    def keep(self, shard: Shard) -> None:
        """Hand all events over to one."""
        shard.add(self._block([*chain.from_iterable(self._parts)]), self.size)

    def _block(self, rows: Sequence[Any]) -> bytes:
        if self._table.bare:
            return events_block(self._table, rows, (), ())
        keys, *columns = zip(*rows, strict=True)
        order = columns.pop(0) if self._table.ordered else ()
        return events_block(self._table, keys, columns, order)
