"""count, sum, avg, min, max. Integers stay integers; sums of floats are exact until the end.

A sum of floats is kept as floats whose exact sum is the value, and rounded once by `math.fsum`
when the result is shown: the order of events and the cuts between them cannot change a bit of it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction
from itertools import repeat
from operator import add
from typing import Any

from streamd_windows.aggregates.base import Aggregate, Cells, Order
from streamd_windows.keys import Key

# A number beyond these is counted as not numeric: integers that no store takes, and floats so
# large that exact sums of them might overflow.
INT_LIMIT = 1 << 63
FLOAT_LIMIT = 1e290
_COMPRESS_ABOVE = 64
_COMPACT = 8  # a cell this long is stored as it is


def is_number(value: Any) -> bool:
    """Whether an aggregation takes the value for a number; a bool is none."""
    kind = type(value)
    if kind is int:
        return bool(-INT_LIMIT <= value < INT_LIMIT)
    return kind is float and -FLOAT_LIMIT < value < FLOAT_LIMIT


class Count(Aggregate):
    """`count()`: the events."""

    plain = True

    def cells(self) -> Cells:
        return Counter()

    def update(
        self,
        cells: Cells,
        keys: Sequence[Key],
        values: Sequence[Any],  # noqa: ARG002
        order: Sequence[Order],  # noqa: ARG002
    ) -> int:
        cells.update(keys)  # a Counter counts, in C
        return 0

    def merge(self, mine: int, other: int) -> int:
        return mine + other

    def absorb(self, into: Cells, other: Cells) -> None:
        _add(into, other, other.values())

    def pick(self, parts: Sequence[Cells], keys: Sequence[Key]) -> Cells:
        if len(parts) == 1:
            return parts[0]
        counts = [0] * len(keys)
        for part in parts:
            counts = list(map(add, counts, map(part.get, keys, repeat(0))))
        return dict(zip(keys, counts, strict=True))

    def absorb_encoded(
        self, into: Cells, keys: Sequence[Key], data: Sequence[int | None], partition: str
    ) -> None:
        if None in data:  # some keys have no value to count
            super().absorb_encoded(into, keys, data, partition)
            return
        _add(into, keys, data)

    def results(self, cells: Cells, keys: Iterable[Key]) -> list[Any]:
        get = cells.get
        return [get(key, 0) for key in keys]


class CountOf(Count):
    """`count(field)`: the events that have the field, and not null."""

    def update(
        self,
        cells: Cells,
        keys: Sequence[Key],
        values: Sequence[Any],
        order: Sequence[Order],  # noqa: ARG002
    ) -> int:
        there = [key for key, value in zip(keys, values, strict=True) if value is not None]
        cells.update(there)
        return len(keys) - len(there)


class Sum(Aggregate):
    """`sum(field)`: a cell is an int, or a list of an int and floats that add up to the sum."""

    def update(
        self,
        cells: Cells,
        keys: Sequence[Key],
        values: Sequence[Any],
        order: Sequence[Order],  # noqa: ARG002
    ) -> int:
        skipped, get = 0, cells.get
        for key, value in zip(keys, values, strict=True):
            kind = type(value)
            if kind is int and -INT_LIMIT <= value < INT_LIMIT:
                cell = get(key, 0)
                if type(cell) is int:
                    cells[key] = cell + value
                else:
                    cell[0] += value
            elif kind is float and -FLOAT_LIMIT < value < FLOAT_LIMIT:
                cell = get(key, 0)
                if type(cell) is int:
                    cells[key] = [cell, value]
                else:
                    cell.append(value)
                    if len(cell) > _COMPRESS_ABOVE:
                        compress(cell)
            else:
                skipped += 1
        return skipped

    def merge(self, mine: Any, other: Any) -> Any:
        if type(mine) is int:
            if type(other) is int:
                return mine + other
            return [mine + other[0], *other[1:]]
        if type(other) is int:
            mine[0] += other
            return mine
        mine[0] += other[0]
        mine += other[1:]
        if len(mine) > _COMPRESS_ABOVE:
            compress(mine)
        return mine

    def copy(self, cell: Any) -> Any:
        return cell if type(cell) is int else list(cell)

    def result(self, cell: Any) -> Any:
        return 0 if cell is None else total(cell)

    def encode(self, cell: Any) -> Any:
        if type(cell) is int:
            return whole(cell)
        if len(cell) > _COMPACT:
            compress(cell)
        return [whole(cell[0]), *cell[1:]]

    def decode(self, data: Any, partition: str) -> Any:  # noqa: ARG002
        return [int(data[0]), *data[1:]] if type(data) is list else int(data)


class Avg(Aggregate):
    """`avg(field)`: a cell is the count of numbers and their sum."""

    def __init__(self) -> None:
        self._sum = Sum()

    def update(
        self, cells: Cells, keys: Sequence[Key], values: Sequence[Any], order: Sequence[Order]
    ) -> int:
        sums: Cells = {}
        skipped = self._sum.update(sums, keys, values, order)
        there = Counter(keys)
        if skipped:
            pairs = zip(keys, values, strict=True)
            there = Counter([key for key, value in pairs if is_number(value)])
        for key, cell in sums.items():
            mine = cells.get(key)
            part = (there[key], cell)
            cells[key] = part if mine is None else self.merge(mine, part)
        return skipped

    def merge(self, mine: Any, other: Any) -> Any:
        return mine[0] + other[0], self._sum.merge(mine[1], other[1])

    def copy(self, cell: Any) -> Any:
        return cell[0], self._sum.copy(cell[1])

    def result(self, cell: Any) -> float | None:
        if cell is None:
            return None
        return float(total(cell[1]) / cell[0])

    def encode(self, cell: Any) -> Any:
        return [cell[0], self._sum.encode(cell[1])]

    def decode(self, data: Any, partition: str) -> Any:
        return data[0], self._sum.decode(data[1], partition)


class Extreme(Aggregate):
    """`min(field)` and `max(field)` of numbers."""

    plain = True

    def __init__(self, *, largest: bool) -> None:
        self.largest = largest

    def update(
        self,
        cells: Cells,
        keys: Sequence[Key],
        values: Sequence[Any],
        order: Sequence[Order],  # noqa: ARG002
    ) -> int:
        skipped, get, largest = 0, cells.get, self.largest
        for key, value in zip(keys, values, strict=True):
            kind = type(value)
            if not (
                (kind is int and -INT_LIMIT <= value < INT_LIMIT)
                or (kind is float and -FLOAT_LIMIT < value < FLOAT_LIMIT)
            ):
                skipped += 1
                continue
            held = get(key)
            if (
                held is None
                or (value > held if largest else value < held)
                or (value == held and kind is int)  # of 1 and 1.0 always the same one
            ):
                cells[key] = value
        return skipped

    def merge(self, mine: float, other: float) -> float:
        if mine == other:
            return mine if type(mine) is int else other
        return max(mine, other) if self.largest else min(mine, other)

    def result(self, cell: float | None) -> float | None:
        return None if cell is None else cell + 0  # -0.0 becomes 0.0, whichever came first


def _add(counts: Cells, keys: Collection[Key], more: Iterable[Any]) -> None:
    """Add to counts, in C: twice as fast as a loop that sets items of a Counter."""
    held = map(counts.get, keys, repeat(0))
    dict.update(counts, zip(keys, map(add, held, more), strict=True))


def compress(cell: list[Any]) -> None:
    """The same exact sum in as few floats as it takes, usually two."""
    floats = cell[1:]
    parts: list[float] = []
    while rest := math.fsum(floats):
        parts.append(rest)
        floats.append(-rest)
    cell[1:] = parts or [0.0]


def total(cell: Any) -> Any:
    """The value of a sum's cell: an int if it has seen no floats."""
    if type(cell) is int:
        return cell
    if not cell[0]:
        return math.fsum(cell[1:]) + 0.0  # never -0.0
    # An int may have more digits than a float: add exactly, round once.
    return float(cell[0] + sum(map(Fraction, cell[1:])))


def whole(value: int) -> int | str:
    """An int as msgpack can hold it: text beyond 64 bits."""
    return value if -INT_LIMIT <= value < INT_LIMIT else str(value)
