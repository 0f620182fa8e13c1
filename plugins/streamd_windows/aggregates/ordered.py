"""first, last and collect: values by where their events stand in event time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from streamd_windows.aggregates.base import Aggregate, Cells, Order
from streamd_windows.keys import Key
from streamd_windows.packing import pack_event, unpack_event

Placed = tuple[Order, Any]
_PLAIN = frozenset({dict, str, int, float, bool, list, type(None)})


class First(Aggregate):
    """`first(field)`: the value of the earliest event that has one; ties go by the source."""

    ordered = True

    def update(
        self, cells: Cells, keys: Sequence[Key], values: Sequence[Any], order: Sequence[Order]
    ) -> int:
        skipped, get = 0, cells.get
        for key, value, at in zip(keys, values, order, strict=True):
            if value is None:
                skipped += 1
                continue
            held = get(key)
            if held is None or at < held[0]:
                cells[key] = (at, value)
        return skipped

    def merge(self, mine: Placed, other: Placed) -> Placed:
        return other if other[0] < mine[0] else mine

    def result(self, cell: Placed | None) -> Any:
        return None if cell is None else shown(cell[1])

    def encode(self, cell: Placed) -> Any:
        (time, _, offset), value = cell
        return [time, offset, pack_event(value)]

    def decode(self, data: Any, partition: str) -> Placed:
        return (data[0], partition, data[1]), unpack_event(data[2])


class Last(First):
    """`last(field)`: the value of the latest event that has one."""

    def update(
        self, cells: Cells, keys: Sequence[Key], values: Sequence[Any], order: Sequence[Order]
    ) -> int:
        skipped, get = 0, cells.get
        for key, value, at in zip(keys, values, order, strict=True):
            if value is None:
                skipped += 1
                continue
            held = get(key)
            # Not "later than": the events that a step has made of one share their place.
            if held is None or at >= held[0]:
                cells[key] = (at, value)
        return skipped

    def merge(self, mine: Placed, other: Placed) -> Placed:
        return other if other[0] >= mine[0] else mine


class Collect(Aggregate):
    """`collect(field, n)`: the first n values in event time; a cell is a list of placed values.

    With `plain` a result has plain data, otherwise the very objects.
    """

    ordered = True

    def __init__(self, limit: int = 100, *, plain: bool = True) -> None:
        self.limit = limit
        self._plain = plain

    def update(
        self, cells: Cells, keys: Sequence[Key], values: Sequence[Any], order: Sequence[Order]
    ) -> int:
        skipped, get, full = 0, cells.get, 2 * self.limit
        for key, value, at in zip(keys, values, order, strict=True):
            if value is None:
                skipped += 1
                continue
            cell = get(key)
            if cell is None:
                cells[key] = [(at, value)]
            else:
                cell.append((at, value))
                if len(cell) > full:
                    self._cut(cell)
        return skipped

    def merge(self, mine: list[Placed], other: list[Placed]) -> list[Placed]:
        mine += other
        self._cut(mine)
        return mine

    def copy(self, cell: list[Placed]) -> list[Placed]:
        return list(cell)

    def result(self, cell: list[Placed] | None) -> list[Any]:
        placed = sorted(cell or [], key=_place)[: self.limit]
        return [shown(value) if self._plain else value for _, value in placed]

    def encode(self, cell: list[Placed]) -> Any:
        self._cut(cell)
        return [[time, offset, pack_event(value)] for (time, _, offset), value in cell]

    def decode(self, data: Any, partition: str) -> list[Placed]:
        return [((time, partition, offset), unpack_event(value)) for time, offset, value in data]

    def _cut(self, cell: list[Placed]) -> None:
        cell.sort(key=_place)
        del cell[self.limit :]


def shown(value: Any) -> Any:
    """A value in a result: plain data, as it would be after a restart."""
    kind = type(value)
    if kind is float and not math.isfinite(value):
        return None  # what JSON makes of it
    return value if kind in _PLAIN else msgspec.to_builtins(value, enc_hook=str)


def _place(placed: Placed) -> Order:
    return placed[0]
