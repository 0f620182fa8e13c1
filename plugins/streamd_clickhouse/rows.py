"""From a batch to fitted columns, and to the rows that do not fit.

The whole column is tried at once. Only when something in it does not fit are the rows looked at
one by one, so that a column without bad rows never pays for the search.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from streamd.api import Reject, Violation
from streamd_clickhouse.types import FIT_ERRORS, ColumnType, Misfit
from streamd_columns import MISSING, Missing, Source

_ABSENT = frozenset({Missing, type(None)})


class Column(Struct, frozen=True):
    """A column of the table that the sink writes. `spelling` is its type as the server says it."""

    name: str
    source: Source
    spelling: str
    type: ColumnType


class Fitted(Struct):
    """A column's fitted values, with the type's zero at the rows of `misfits`."""

    values: list[Any]
    misfits: dict[int, str]


def fit_column(column: Column, values: list[Any], *, reject_missing: bool) -> Fitted:
    """Every value as the column takes it, or why not. `values` stays as it is."""
    misfits: dict[int, str] = {}
    if _ABSENT & set(map(type, values)):
        values = _without_absent(column.type, values, misfits, reject_missing)
    fit = column.type.fit_ms if column.source.in_ms else column.type.fit
    try:
        return Fitted(fit(values), misfits)
    except FIT_ERRORS:
        pass
    fitted: list[Any] = []
    zero = column.type.zero
    for row, value in enumerate(values):
        try:
            fitted.append(fit([value])[0])
        except FIT_ERRORS as error:
            reason = error if isinstance(error, Misfit) else column.type.misfit(value)
            misfits.setdefault(row, str(reason))
            fitted.append(zero)
    return Fitted(fitted, misfits)


def _without_absent(
    type_: ColumnType, values: list[Any], misfits: dict[int, str], reject_missing: bool
) -> list[Any]:
    """Nulls stay where the column takes them; elsewhere the type's zero stands for them."""
    if reject_missing:
        for row, value in enumerate(values):
            if value is MISSING:
                misfits[row] = "the event has no such field"
            elif value is None and not type_.nullable:
                misfits[row] = f"expected {type_.expects}, got null"
    if type_.nullable:
        return [None if value is MISSING else value for value in values]
    zero = type_.zero
    return [zero if value is None or value is MISSING else value for value in values]


def rejects_of(columns: Sequence[Column], fitted: Sequence[Fitted]) -> dict[int, Reject]:
    """One reject per row that has a misfit, naming each column that does not take its value."""
    violations: dict[int, list[Violation]] = {}
    for column, values in zip(columns, fitted, strict=True):
        for row, reason in values.misfits.items():
            message = f"column {column.name} ({column.spelling}): {reason}"
            path = column.source.json_path if column.source.path else column.source.text
            violations.setdefault(row, []).append(Violation(path, message))
    return {
        row: Reject("column", "; ".join(v.message for v in found), tuple(found))
        for row, found in sorted(violations.items())
    }
