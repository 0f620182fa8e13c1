"""Event time: from a field or the record to milliseconds since the epoch, and back to text."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from streamd.api import Batch, ConfigError, Reject
from streamd_expressions import ExpressionError, compile_expression

Unit = Literal["auto", "s", "ms", "us", "ns"]
Times = tuple[list[int], dict[int, str]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = _EPOCH.replace(tzinfo=None)
_MS = timedelta(milliseconds=1)
_PER_MS = {"s": 0.001, "ms": 1, "us": 1_000, "ns": 1_000_000}
# Up to these a number is taken for seconds (until the year 5138), milliseconds, microseconds.
_AUTO: tuple[tuple[int, Unit], ...] = (
    (100_000_000_000, "s"),
    (100_000_000_000_000, "ms"),
    (100_000_000_000_000_000, "us"),
)
# The years 1 and 10000: what is outside has no RFC 3339 form.
_FIRST, _LIMIT = -62_135_596_800_000, 253_402_300_800_000


def to_ms(value: Any, unit: Unit = "auto") -> int:
    """Milliseconds since the epoch of an RFC 3339 text with a zone, a number or a datetime.

    Raises ValueError, with a message for people, if the value is no point in time.
    """
    kind = type(value)
    if kind is str:
        ms = _of_text(value)
    elif kind is int or kind is float:
        ms = _of_number(value, unit)
    elif isinstance(value, datetime):
        ms = _of_datetime(value)
    elif value is None:
        raise ValueError("the time is missing")
    else:
        raise ValueError(f"a time is a text or a number, not {kind.__name__}")
    if not _FIRST <= ms < _LIMIT:
        raise ValueError(f"the time {value!r:.50} is outside of the calendar")
    return ms


def to_text(ms: int) -> str:
    """RFC 3339 in UTC, with milliseconds: `"2025-11-19T10:30:00.000Z"`; the number itself where
    the calendar ends."""
    if not _FIRST <= ms < _LIMIT:
        return str(ms)
    moment = _NAIVE_EPOCH + timedelta(milliseconds=ms)
    return f"{moment.isoformat(timespec='milliseconds')}Z"


def late_reject(ms: int) -> Reject:
    return Reject("late", f"{to_text(ms)} is before the watermark, its windows are closed")


def future_reject(ms: int) -> Reject:
    return Reject("future", f"{to_text(ms)} is too far in the future")


def time_reader(path: str, unit: Unit) -> Callable[[Batch], Times]:
    """A function that gives the event time of each row, and why rows have none (theirs is 0).

    Raises ConfigError if `path` is neither "record" nor an expression.
    """
    if path == "record":
        return lambda batch: (list(batch.timestamps), {})
    try:
        read = compile_expression(path).map_values
    except ExpressionError as error:
        raise ConfigError(str(error), path="time") from error

    def of_field(batch: Batch) -> Times:
        values = read(batch.values, None, {})
        # The usual cases, at a third of the cost of the careful loop.
        times = _texts(values) or _integers(values, unit)
        return (times, {}) if times else _careful(values, unit)

    return of_field


def _texts(values: list[Any]) -> list[int] | None:
    """All are RFC 3339 with a zone."""
    parse, epoch, ms = datetime.fromisoformat, _EPOCH, _MS
    try:
        return [(parse(value) - epoch) // ms for value in values]
    except (TypeError, ValueError, OverflowError):
        return None


def _integers(values: list[Any], unit: Unit) -> list[int] | None:
    """All are whole numbers of the same unit, and none is far off."""
    if set(map(type, values)) != {int}:
        return None
    least, most = min(values), max(values)
    if not 0 <= least <= most < _AUTO[-1][0]:
        return None
    if unit == "auto":
        unit = _unit_of(most)
        if unit != _unit_of(least):
            return None
    if unit == "ms":
        return values if most < _LIMIT else None
    if unit == "s":
        return [value * 1000 for value in values] if most < _LIMIT // 1000 else None
    per_ms = int(_PER_MS[unit])
    return [value // per_ms for value in values]


def _careful(values: list[Any], unit: Unit) -> Times:
    times: list[int] = []
    bad: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            times.append(to_ms(value, unit))
        except (ValueError, OverflowError) as error:
            bad[row] = str(error)
            times.append(0)
    return times, bad


def _of_text(text: str) -> int:
    try:
        return _of_datetime(datetime.fromisoformat(text))
    except ValueError as error:
        raise ValueError(f"not an RFC 3339 time with a zone: {text!r:.50}") from error


def _of_datetime(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return (moment - _EPOCH) // _MS


def _of_number(value: float, unit: Unit) -> int:
    if not math.isfinite(value):
        raise ValueError(f"not a time: {value}")
    if unit == "auto":
        unit = _unit_of(abs(value))
    if unit == "s":
        return value * 1000 if isinstance(value, int) else math.floor(round(value * 1000, 3))
    return math.floor(value // _PER_MS[unit])


def _unit_of(size: float) -> Unit:
    return next((name for limit, name in _AUTO if size < limit), "ns")
