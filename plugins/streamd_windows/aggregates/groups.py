"""top_k and group_count: how often each value came, exact up to a bound.

Beyond the bound the rare values are pruned the way of Misra and Gries: every count loses what the
last kept one has too little. A count is then too low by at most the cell's error, which is at most
events / (bound + 1), and the row says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamd_windows.aggregates.base import Aggregate, Cells, Order
from streamd_windows.keys import Key, canonical_all, plain
from streamd_windows.packing import key_of

Counts = dict[Any, int]

# The key under which a cell keeps its error; no value is an empty tuple.
_ERROR = ()
DEFAULT_BOUND = 10_000


class GroupCount(Aggregate):
    """`group_count(field)`: `{value: count}`, as text where JSON wants text for keys."""

    def __init__(self, bound: int = DEFAULT_BOUND) -> None:
        self.bound = bound

    def update(
        self,
        cells: Cells,
        keys: Sequence[Key],
        values: Sequence[Any],
        order: Sequence[Order],  # noqa: ARG002
    ) -> int:
        skipped, get, full = 0, cells.get, 2 * self.bound
        for key, value in zip(keys, canonical_all(values), strict=True):
            if value is None:
                skipped += 1
                continue
            counts = get(key)
            if counts is None:
                cells[key] = {value: 1}
            else:
                counts[value] = counts.get(value, 0) + 1
                if len(counts) > full:
                    self._prune(counts)
        return skipped

    def merge(self, mine: Counts, other: Counts) -> Counts:
        get = mine.get
        for value, count in other.items():
            mine[value] = get(value, 0) + count
        if len(mine) > 2 * self.bound:
            self._prune(mine)
        return mine

    def copy(self, cell: Counts) -> Counts:
        return dict(cell)

    def result(self, cell: Counts | None) -> Any:
        ranked = self.ranked(cell or {})
        shown: dict[str, int] = {}
        for value, count in ranked[: self.bound]:
            text = _text(value)
            shown[text] = shown.get(text, 0) + count  # 1 and "1" look alike as keys
        # What is left out came so often at most.
        least = max([0, *(count for _, count in ranked[self.bound :])])
        if error := (cell or {}).get(_ERROR, 0) + least:
            shown["..."] = error
        return shown

    def encode(self, cell: Counts) -> Any:
        error = cell.get(_ERROR, 0)
        counts = {value: count for value, count in cell.items() if value != _ERROR}
        return [error, list(counts), list(counts.values())]

    def decode(self, data: Any, partition: str) -> Counts:  # noqa: ARG002
        error, values, counts = data
        cell: Counts = dict(zip(map(key_of, values), counts, strict=True))
        return {**cell, _ERROR: error} if error else cell

    def ranked(self, cell: Counts) -> list[tuple[Any, int]]:
        """The values by count, the most frequent first; equal counts by the values themselves."""
        pairs = [(value, count) for value, count in cell.items() if value != _ERROR]
        pairs.sort(key=_rank)
        return pairs

    def _prune(self, counts: Counts) -> None:
        error = counts.pop(_ERROR, 0)
        least = sorted(counts.values(), reverse=True)[self.bound]
        kept = {value: count - least for value, count in counts.items() if count > least}
        counts.clear()
        counts.update(kept)
        counts[_ERROR] = error + least


class TopK(GroupCount):
    """`top_k(field, k)`: the k most frequent values as `[{"value": ..., "count": ...}]`."""

    def __init__(self, k: int = 10, bound: int = DEFAULT_BOUND) -> None:
        super().__init__(max(k, bound))
        self.k = k

    def result(self, cell: Counts | None) -> Any:
        ranked = self.ranked(cell or {})[: self.k]
        if cell and _ERROR in cell:
            error = cell[_ERROR]
            return [{"value": plain(value), "count": n, "error": error} for value, n in ranked]
        return [{"value": plain(value), "count": n} for value, n in ranked]


def _rank(pair: tuple[Any, int]) -> tuple[int, str, str]:
    value, count = pair
    return -count, type(value).__name__, f"{value:020d}" if type(value) is int else str(value)


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    shown = plain(value)
    return str(shown).lower() if type(shown) is bool else str(shown)
