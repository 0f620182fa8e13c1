"""Several aggregates side by side: a window's columns of cells, all under the same keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamd_windows.aggregates.base import Aggregate, Cells, Order
from streamd_windows.keys import Key


class Table:
    """The aggregates, and for each the number of the field that it reads (None: it reads none).

    `skipped` counts for each the values that it could not use.
    """

    def __init__(self, aggregates: Sequence[Aggregate], fields: Sequence[int | None]) -> None:
        self.aggregates = aggregates
        self.ordered = any(aggregate.ordered for aggregate in aggregates)
        self.skipped = [0] * len(aggregates)
        # Whether events are nothing but their keys to all of them.
        self.bare = not self.ordered and not any(field is not None for field in fields)
        self._fields = fields

    def cells(self) -> list[Cells]:
        """No cells yet."""
        return [aggregate.cells() for aggregate in self.aggregates]

    def update(
        self,
        cells: Sequence[Cells],
        keys: Sequence[Key],
        values: Sequence[Sequence[Any]],
        order: Sequence[Order],
    ) -> None:
        """Add events, each under its key. `values` has one column for each field.

        `order` is empty unless `ordered`.
        """
        for number, field in enumerate(self._fields):
            column: Sequence[Any] = () if field is None else values[field]
            skipped = self.aggregates[number].update(cells[number], keys, column, order)
            self.skipped[number] += skipped
