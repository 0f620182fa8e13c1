"""Date, Date32, DateTime and DateTime64.

Text is ISO 8601; where it names no zone it means UTC, never the zone of a server or of this
machine. An integer is in seconds since the epoch, so that one in milliseconds lies far outside of
every range and is refused instead of stored as a wrong date. A time that is finer than its column
is cut to it, as the column is made to.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from streamd_clickhouse.types.base import ColumnType, Misfit, require
from streamd_clickhouse.types.numeric import pack_ints
from streamd_columns.columns import EPOCH

_EPOCH_DAY = date(1970, 1, 1)
_EPOCH_ORDINAL = _EPOCH_DAY.toordinal()
_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)
_DAY_MS = 86_400_000
_FRACTION = re.compile(r"[.,](\d+)")


class Date(ColumnType):
    """Date and Date32: a date, or the UTC date of a time. Fitted values are `date`s."""

    zero = _EPOCH_DAY

    def __init__(self, spelling: str = "Date") -> None:
        self.spelling = spelling
        wide = spelling == "Date32"
        self.low = date(1900, 1, 1) if wide else _EPOCH_DAY
        self.high = date(2299, 12, 31) if wide else date(2149, 6, 6)
        self.expects = f"a date (YYYY-MM-DD) from {self.low} to {self.high}"
        self._letter = "i" if wide else "H"

    def fit(self, values: list[Any]) -> list[Any]:
        require(self, values, str, date, datetime)
        try:
            days = [v if type(v) is date else date.fromisoformat(v) for v in values]
        except (ValueError, TypeError):
            days = [_day_of(value) for value in values]
        return self._within(days)

    def fit_ms(self, values: list[Any]) -> list[Any]:
        require(self, values, int)
        return self._within([_EPOCH_DAY + timedelta(days=value // _DAY_MS) for value in values])

    def _within(self, days: list[date]) -> list[date]:
        if days and not (self.low <= min(days) and max(days) <= self.high):
            raise self.misfit(next(day for day in days if not self.low <= day <= self.high))
        return days

    def encode(self, values: Sequence[Any]) -> bytes:
        days = [value.toordinal() - _EPOCH_ORDINAL for value in values]
        return struct.pack(f"<{len(days)}{self._letter}", *days)


class DateTime(ColumnType):
    """DateTime, with or without a zone. Fitted values are seconds since the epoch."""

    zero = 0
    low, high = 0, 2**32 - 1
    expects = "an ISO 8601 time or seconds since the epoch, from 1970 to 2106"

    def __init__(self, spelling: str = "DateTime") -> None:
        self.spelling = spelling

    def fit(self, values: list[Any]) -> list[Any]:
        kinds = require(self, values, str, int, datetime)
        if kinds <= {int}:
            return self._within(values)
        return self._within([_seconds(value) for value in values])

    def fit_ms(self, values: list[Any]) -> list[Any]:
        require(self, values, int)
        return self._within([value // 1000 for value in values])

    def _within(self, seconds: list[int]) -> list[int]:
        if seconds and (min(seconds) < self.low or max(seconds) > self.high):
            raise self.misfit(next(s for s in seconds if not self.low <= s <= self.high))
        return seconds

    def encode(self, values: Sequence[Any]) -> bytes:
        return pack_ints(values, 32, signed=False)


class Ticks(int):
    """A fitted DateTime64: not to be taken for seconds when it is fitted again."""


class DateTime64(ColumnType):
    """DateTime64(P): fitted values are ticks of 10**-P seconds since the epoch."""

    zero = Ticks(0)

    def __init__(self, precision: int, spelling: str) -> None:
        self.spelling = spelling
        self.precision = precision
        years = "1900 to 2262" if precision == 9 else "1900 to 2299"
        self.expects = f"an ISO 8601 time or seconds since the epoch, from {years}"
        first, last = datetime(1900, 1, 1, tzinfo=UTC), datetime(2300, 1, 1, tzinfo=UTC)
        self._per_second = per_second = int(10**precision)
        self.low = (first - EPOCH) // _SECOND * per_second
        self.high = min((last - EPOCH) // _SECOND * per_second - 1, 2**63 - 1)

    def fit(self, values: list[Any]) -> list[Any]:
        kinds = require(self, values, str, int, datetime, Ticks)
        if kinds == {Ticks}:
            return values
        return self._within([self._ticks(value) for value in values])

    def fit_ms(self, values: list[Any]) -> list[Any]:
        require(self, values, int)
        return self._within([value * self._per_second // 1000 for value in values])

    def _ticks(self, value: Any) -> int:
        if isinstance(value, Ticks):
            return value
        if type(value) is int:
            return value * self._per_second
        micros = (_moment(value) - EPOCH) // _MICROSECOND
        ticks = micros * self._per_second // 1_000_000
        if self.precision <= 6:
            return ticks
        # `datetime` ends at microseconds: what stands behind them is read from the text.
        if type(value) is str and (fraction := _FRACTION.search(value)):
            below = fraction[1][6 : self.precision]
            ticks += int(below.ljust(self.precision - 6, "0") or 0)
        return ticks

    def _within(self, ticks: list[int]) -> list[Ticks]:
        if ticks and (min(ticks) < self.low or max(ticks) > self.high):
            raise Misfit(f"expected {self.expects}, got one outside of these years")
        return list(map(Ticks, ticks))

    def encode(self, values: Sequence[Any]) -> bytes:
        return pack_ints(values, 64, signed=True)


def _moment(value: str | datetime) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _seconds(value: Any) -> int:
    return value if type(value) is int else (_moment(value) - EPOCH) // _SECOND


def _day_of(value: Any) -> date:
    if type(value) is date:
        return value
    return _moment(value).astimezone(UTC).date()
