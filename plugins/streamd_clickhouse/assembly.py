"""Putting an insert together, slice by slice.

Slices are short enough to stay in the processor's cache between reading, fitting and encoding
(a third faster than whole columns of 20,000 rows), and to let other tasks have their turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamd.api import Reject
from streamd_clickhouse.block import Block, column_head
from streamd_clickhouse.rows import Column, Fitted, fit_column, rejects_of
from streamd_clickhouse.types import FIT_ERRORS
from streamd_columns import Columns

SLICE = 2000


class Assembly:
    """Collects the rows that fit. `encode` is whether a block in the Native format is wanted."""

    def __init__(self, columns: Sequence[Column], *, encode: bool, reject_missing: bool) -> None:
        self._columns = columns
        self._reject_missing = reject_missing
        self._encode = encode
        self._encoded = [encode and column.type.joins for column in columns]
        self._values: list[list[Any]] = [[] for _ in columns]
        self._parts: list[list[bytes]] = [[] for _ in columns]
        self.rows = 0

    def add(self, events: Columns) -> dict[int, Reject]:
        """Take in a slice; returns the rows of it that do not fit and so are left out."""
        pieces = self._whole(events)
        if pieces is None:
            return self._by_row(events)
        self._keep(pieces, events.rows)
        return {}

    def block(self) -> Block:
        """What was collected. Values are there only where nothing was encoded."""
        columns = self._columns
        parts: list[bytes] = []
        for column, values, encoded in zip(columns, self._values, self._parts, strict=True):
            if self._encode:
                parts.append(column_head(column))
                parts += encoded or [column.type.encode(values)]
        names = tuple((column.name, column.spelling) for column in columns)
        return Block(names, self.rows, self._values, parts)

    def _whole(self, events: Columns) -> list[Any] | None:
        """A piece per column: bytes, or fitted values. None if something does not fit."""
        pieces: list[Any] = []
        for column, encoded in zip(self._columns, self._encoded, strict=True):
            values = events.of(column.source)
            if encoded and not column.source.in_ms:
                try:
                    pieces.append(column.type.write(values))
                    continue
                except FIT_ERRORS:
                    pass  # most often a null, which is not in the way of the others
            fitted = self._fit(column, values)
            if fitted.misfits:
                return None
            pieces.append(column.type.encode(fitted.values) if encoded else fitted.values)
        return pieces

    def _by_row(self, events: Columns) -> dict[int, Reject]:
        columns = self._columns
        fitted = [self._fit(column, events.of(column.source)) for column in columns]
        rejects = rejects_of(columns, fitted)
        good = [row for row in range(events.rows) if row not in rejects]
        if good:
            kept = [[column.values[row] for row in good] for column in fitted]
            self._keep(
                [
                    column.type.encode(values) if encoded else values
                    for column, values, encoded in zip(columns, kept, self._encoded, strict=True)
                ],
                len(good),
            )
        return rejects

    def _fit(self, column: Column, values: list[Any]) -> Fitted:
        return fit_column(column, values, reject_missing=self._reject_missing)

    def _keep(self, pieces: Sequence[Any], rows: int) -> None:
        self.rows += rows
        for piece, values, parts, encoded in zip(
            pieces, self._values, self._parts, self._encoded, strict=True
        ):
            if encoded:
                parts.append(piece)
            else:
                values += piece
