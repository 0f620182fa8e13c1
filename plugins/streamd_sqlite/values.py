"""What fits a SQLite column.

SQLite takes any value anywhere and converts by the column's affinity: "007" in an INTEGER column
becomes 7, NaN becomes null, 5 in a TEXT column becomes "5". So a value is checked against the
affinity first, and one that SQLite would change is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from math import isfinite
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

from streamd_columns import MISSING, Source, Unfit

Affinity = Literal["any", "integer", "real", "numeric", "text", "blob"]

_TAKES: dict[Affinity, tuple[type, ...]] = {
    "any": (int, float, str, bytes),
    "integer": (int,),
    "real": (float, int),
    "numeric": (int, float, str),
    "text": (str,),
    "blob": (bytes, str, int, float),
}
_KEEPS_TEXT = frozenset({"any", "text", "blob"})
_INT64 = range(-(2**63), 2**63)
_EXACT = 2**53


class Column(Struct, frozen=True):
    """A column that the sink writes."""

    name: str
    source: Source
    type: str
    not_null: bool = False


def affinity_of(type_: str) -> Affinity:
    """SQLite's rules for a declared type; "any" for a column that was declared without one."""
    upper = type_.upper()
    rules: tuple[tuple[Affinity, tuple[str, ...]], ...] = (
        ("integer", ("INT",)),
        ("text", ("CHAR", "CLOB", "TEXT")),
        ("blob", ("BLOB",)),
        ("real", ("REAL", "FLOA", "DOUB")),
    )
    for affinity, words in rules:
        if any(word in upper for word in words):
            return affinity
    return "numeric" if upper.strip() else "any"


def fit_column(
    column: Column, values: list[Any], *, reject_missing: bool
) -> tuple[list[Any], dict[int, str]]:
    """The values as SQLite shall store them, and why some rows do not fit."""
    if column.source.kind in ("json", "text"):
        values = [value.decode() if type(value) is bytes else value for value in values]
    affinity = affinity_of(column.type)
    if _all_fit(values, affinity):
        return values, {}
    fit = _fitter(affinity, nulls=not column.not_null, reject_missing=reject_missing)
    fitted: list[Any] = []
    misfits: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            fitted.append(fit(value))
        except (ValueError, TypeError) as error:
            kind = f" ({column.type})" if column.type else ""
            misfits[row] = f"column {column.name}{kind}: {error}"
            fitted.append(None)
    return fitted, misfits


def _all_fit(values: list[Any], affinity: Affinity) -> bool:
    """Whether a column can be taken as it is, for the cases in which that is cheap to tell."""
    kinds = set(map(type, values))
    if kinds == {str} and affinity in _KEEPS_TEXT:
        joined = "".join(values)
        return joined.isascii() or _has_bytes(joined)
    if kinds == {int} and affinity in ("any", "integer", "blob"):
        return min(values) in _INT64 and max(values) in _INT64
    return False


def _has_bytes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


def _fitter(affinity: Affinity, *, nulls: bool, reject_missing: bool) -> Callable[[Any], Any]:
    takes = _TAKES[affinity]
    keeps_text = affinity in _KEEPS_TEXT

    def fit(value: Any) -> Any:
        if value is MISSING:
            if reject_missing:
                raise ValueError("the event has no such field")
            value = None
        if value is None:
            if not nulls:
                raise ValueError("the column takes no null")
            return None
        if isinstance(value, bool):
            value = int(value)
        elif keeps_text and not isinstance(value, int | float | str | bytes):
            value = _text(value)
        if not isinstance(value, takes):
            raise ValueError(f"does not fit: {_shown(value)}")
        _check(value, affinity)
        return value

    return fit


def _check(value: Any, affinity: Affinity) -> None:
    if isinstance(value, int):
        if value not in _INT64:
            raise ValueError(f"{value} has more than 64 bits")
        if affinity == "real" and not -_EXACT <= value <= _EXACT and int(float(value)) != value:
            raise ValueError(f"{value} is an integer that a float would round")
    elif isinstance(value, float):
        if not isfinite(value):
            raise ValueError(f"{value} is not a finite number")
    elif isinstance(value, str):
        if not _has_bytes(value):
            raise ValueError(f"{_shown(value)} is not valid Unicode")
        if affinity == "numeric" and _is_number(value):
            raise ValueError(f"{_shown(value)} is text that SQLite would turn into a number")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text(value: Any) -> str:
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date() | UUID():
            return str(value)
    raise ValueError(f"does not fit: {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, Unfit):
        return value.message
    if isinstance(value, dict | list):
        name = "an object" if isinstance(value, dict) else "a list"
        return f'{name} (map it from "@json path")'
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
