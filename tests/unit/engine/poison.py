"""A window that cannot count some events, and tears its state on each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from streamd.api import Batch
from tests.unit.engine.test_crash import WINDOW, CountWindow


class Brittle(CountWindow):
    """Raises for events whose number is in `bad`, when it has counted them and all before."""

    def __init__(self, bad: Collection[int]) -> None:
        super().__init__(None)
        self.bad = bad

    def process(self, batch: Batch) -> Iterable[Batch]:
        for row, value in enumerate(batch.values):
            if value["n"] in self.bad:
                list(super().process(batch.take(range(row + 1))))
                raise ValueError(f"cannot count {value['n']}")
        return list(super().process(batch))


def windows_without(bad: Collection[int], events: int, partitions: int = 1) -> dict[str, int]:
    """The windows over all events but these, by name."""
    totals = {}
    for partition in range(partitions):
        kept = [
            (offset, number)
            for offset, number in enumerate(range(partition, events, partitions))
            if number not in bad
        ]
        for first in range(0, len(kept) - WINDOW + 1, WINDOW):
            window = kept[first : first + WINDOW]
            totals[f"events:{partition}/{window[-1][0]}"] = sum(number for _, number in window)
    return totals


def totals(rows: Iterable[Any]) -> dict[str, set[int]]:
    """Every total that a window was written with."""
    found: dict[str, set[int]] = {}
    for row in rows:
        found.setdefault(row["window"], set()).add(row["total"])
    return found
