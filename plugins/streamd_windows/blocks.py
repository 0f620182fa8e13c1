"""What comes to a large group, as bytes: events, or cells that they have been added up to.

A block of events is [ordered, keys, times and offsets if ordered, a column for each field], one of
cells [keys, a column of cells for each aggregate].
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import repeat
from typing import Any

from streamd_windows.aggregates import Cells, Order, Table
from streamd_windows.keys import Key
from streamd_windows.packing import key_of, pack_block, unpack_block

# What msgpack gives back as it was.
_PLAIN = frozenset({str, int, float, bool, type(None)})
# Bytes of an event: a long text may be no more than a 1 in the cell of a count.
_SHORT = 128


def cells_block(table: Table, columns: Sequence[Cells], keys: Collection[Key]) -> bytes:
    """The cells of some keys."""
    pairs = zip(table.aggregates, columns, strict=True)
    return pack_block([list(keys), *[each.encode_all(cells, keys) for each, cells in pairs]])


def events_block(
    table: Table, keys: Sequence[Key], values: Sequence[Sequence[Any]], order: Sequence[Order]
) -> bytes:
    """Events of one partition: as they are if that takes little and loses nothing, or as cells."""
    if all(_PLAIN.issuperset(map(type, column)) for column in values):
        places = [[place[0] for place in order], [place[2] for place in order]] if order else []
        try:
            block = pack_block([bool(order), keys, *places, *values])
            if len(block) <= _SHORT * len(keys):
                return block
        except (OverflowError, UnicodeEncodeError):  # more than 64 bits; half a character
            pass
    cells = table.cells()
    table.update(cells, keys, values, order)
    return cells_block(table, cells, cells[0])


def merge(table: Table, cells: list[Cells], block: bytes, partition: str) -> int:
    """Add what a block holds to cells. Returns how many events or cells it holds."""
    head, *columns = unpack_block(block)
    if type(head) is bool:
        keys = _keys(columns[0])
        order: list[Order] = []
        if head:
            order = list(zip(columns[1], repeat(partition), columns[2], strict=False))
        table.update(cells, keys, columns[3 if head else 1 :], order)
    else:
        keys = _keys(head)
        for aggregate, into, data in zip(table.aggregates, cells, columns, strict=True):
            aggregate.absorb_encoded(into, keys, data, partition)
    return len(keys)


def _keys(packed: list[Any]) -> list[Key]:
    return packed if {str}.issuperset(map(type, packed)) else [key_of(key) for key in packed]
