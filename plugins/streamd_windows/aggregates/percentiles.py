"""percentiles: exact up to a bound of numbers, then by buckets that grow by 2 %.

A bucket holds numbers that differ by at most 2 %, and stands for its middle: a percentile is then
within 1 % of the number that has this rank. As with `distinct`, which of the two it is depends on
the events alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from streamd_windows.aggregates.base import Aggregate, Cells, Order
from streamd_windows.aggregates.numbers import is_number
from streamd_windows.keys import Key

DEFAULT_BOUND = 1_000
_ACCURACY = 0.01
_GAMMA = (1 + _ACCURACY) / (1 - _ACCURACY)
_LOG_GAMMA = math.log(_GAMMA)
# Makes every bucket of a positive number positive: the smallest double is bucket -37223.
_SHIFT = 40_000


class Percentiles(Aggregate):
    """`percentiles(field, 50, 99)`: `{"p50": ..., "p99": ...}` by nearest rank.

    A cell is a list of numbers or, beyond the bound, a dict of counts by bucket.
    """

    def __init__(self, *ranks: float, bound: int = DEFAULT_BOUND) -> None:
        self.ranks = ranks or (50, 95, 99)
        self.bound = bound

    def update(
        self,
        cells: Cells,
        keys: Sequence[Key],
        values: Sequence[Any],
        order: Sequence[Order],  # noqa: ARG002
    ) -> int:
        skipped, get, bound = 0, cells.get, self.bound
        for key, value in zip(keys, values, strict=True):
            if not is_number(value):
                skipped += 1
                continue
            cell = get(key)
            if cell is None:
                cells[key] = [value]
            elif type(cell) is list:
                cell.append(value)
                if len(cell) > bound:
                    cells[key] = _bucketed({}, cell)
            else:
                number = bucket(value)
                cell[number] = cell.get(number, 0) + 1
        return skipped

    def merge(self, mine: Any, other: Any) -> Any:
        if type(mine) is list and type(other) is list:
            mine += other
            return _bucketed({}, mine) if len(mine) > self.bound else mine
        if type(mine) is list:
            return _bucketed(dict(other), mine)
        if type(other) is list:
            return _bucketed(mine, other)
        for number, count in other.items():
            mine[number] = mine.get(number, 0) + count
        return mine

    def copy(self, cell: Any) -> Any:
        return cell.copy()

    def result(self, cell: Any) -> dict[str, Any]:
        names = [f"p{rank:.15g}" for rank in self.ranks]
        if cell is None:
            return dict.fromkeys(names)
        if type(cell) is list:
            # By type too, and 0.0 for -0.0: of equal numbers the same one is shown in every run.
            numbers = sorted([(value + 0, type(value) is float) for value in cell])
            wanted = [numbers[_rank(rank, len(numbers)) - 1][0] for rank in self.ranks]
        else:
            size = sum(cell.values())
            wanted = [_nth(cell, _rank(rank, size)) for rank in self.ranks]
        return dict(zip(names, wanted, strict=True))

    def encode(self, cell: Any) -> Any:
        return cell

    def decode(self, data: Any, partition: str) -> Any:  # noqa: ARG002
        return data


def bucket(value: float) -> int:
    """The number of a value's bucket; buckets ascend with their values."""
    if not value:
        return 0
    number = math.ceil(math.log(abs(value)) / _LOG_GAMMA) + _SHIFT
    return number if value > 0 else -number


def middle(number: int) -> float:
    """The value that stands for a bucket."""
    if not number:
        return 0.0
    size = 2 * math.exp((abs(number) - _SHIFT) * _LOG_GAMMA) / (_GAMMA + 1)
    return size if number > 0 else -size


def _bucketed(cell: dict[int, int], values: Sequence[float]) -> dict[int, int]:
    for value in values:
        number = bucket(value)
        cell[number] = cell.get(number, 0) + 1
    return cell


def _rank(percent: float, size: int) -> int:
    """Nearest rank, from 1. In integers: 99 % of 100 must be the 99th, not the 100th."""
    billionths = round(percent * 10_000_000)
    return max(1, -(-billionths * size // 1_000_000_000))


def _nth(cell: dict[int, int], rank: int) -> float:
    seen = 0
    for number in sorted(cell):
        seen += cell[number]
        if seen >= rank:
            return middle(number)
    raise AssertionError("a rank beyond the size")
