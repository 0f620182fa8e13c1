"""Logical types: the JSON value that an event has, and the plain Avro value that is stored.

An Avro event is made of the values that JSON would have for it, so a time is RFC 3339 text, a
decimal its digits, an address a dotted quad. `to_plain` takes such text, or the Python object.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from socket import AF_INET, inet_ntop, inet_pton
from typing import Any, NamedTuple

from streamd_avro import jsontext
from streamd_avro.problems import NotEncodable
from streamd_avro.schema import Fixed, Logical, Primitive

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_UNIT = timedelta(microseconds=1)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,9})?", re.ASCII)
_MAX_DIGITS = 4000


class Conversion(NamedTuple):
    """`to_plain` raises NotEncodable, `from_plain` ValueError or OverflowError.

    `exactly` is `to_plain` for a union that holds other forms too: it refuses what would not come
    back as the very same text. `takes` are the Python types that it may take.
    """

    to_plain: Callable[[Any], Any]
    exactly: Callable[[Any], Any]
    from_plain: Callable[[Any], Any]
    takes: tuple[type, ...]


def conversion_of(schema: Primitive | Fixed) -> Conversion | None:
    """How values of a type are converted; None for plain ones."""
    logical = schema.logical
    if logical is None:
        return None
    match logical.name:
        case "timestamp-millis":
            return _timestamps(1000)
        case "timestamp-micros":
            return _timestamps(1)
        case "date":
            return _exact(_day_of, _date_text, (str, date, int))
        case "decimal":
            size = schema.size if isinstance(schema, Fixed) else None
            to_plain = partial(_decimal_bytes, logical=logical, size=size)
            from_plain = partial(_decimal_text, logical=logical)
            return _exact(to_plain, from_plain, (Decimal, str, int, float))
        case "ipv4":
            return _exact(_address_bytes, _address_text, (str,))
        case _:
            return Conversion(jsontext.encode, jsontext.encode, jsontext.decode, (object,))


def _exact(
    to_plain: Callable[[Any], Any], from_plain: Callable[[Any], Any], takes: tuple[type, ...]
) -> Conversion:
    def exactly(value: Any) -> Any:
        plain = to_plain(value)
        if isinstance(value, str) and from_plain(plain) != value:
            raise NotEncodable(f"{value!r:.100} would not come back as it is written")
        return plain

    return Conversion(to_plain, exactly, from_plain, takes)


def _timestamps(unit: int) -> Conversion:
    """Times in units of so many microseconds."""
    to_text = lru_cache(maxsize=8192)(partial(_time_text, unit))
    return _exact(partial(_units_of, unit), to_text, (str, datetime, int))


def _units_of(unit: int, value: Any) -> int:
    if type(value) is int:
        return value
    moment = value
    if isinstance(value, str):
        # The parser alone would take more than RFC 3339, and cut the nanoseconds off.
        try:
            moment = datetime.fromisoformat(value) if _TIME.fullmatch(value) else None
        except ValueError:
            moment = None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise NotEncodable(f"{value!r:.100} is no RFC 3339 time with a zone")
    units, rest = divmod((moment - _EPOCH) // _UNIT, unit)
    if rest:
        raise NotEncodable(f"{value!r} is finer than the schema's {unit} microseconds")
    return units


def _time_text(unit: int, units: int) -> str:
    moment = _EPOCH + units * unit * _UNIT
    micros = moment.microsecond
    digits = "microseconds" if micros % 1000 else "milliseconds" if micros else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=digits) + "Z"


def _day_of(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            raise NotEncodable(f"{value!r:.100} is no date") from None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise NotEncodable(f"{value!r:.100} is no date")
    return value.toordinal() - _EPOCH_DAY


def _date_text(days: int) -> str:
    return date.fromordinal(days + _EPOCH_DAY).isoformat()


def _decimal_bytes(value: Any, logical: Logical, size: int | None) -> bytes:
    unscaled = _unscaled(value, logical)
    if abs(unscaled) >= 10**logical.precision:
        raise NotEncodable(f"{value!s:.100} has more than {logical.precision} digits")
    length = (unscaled if unscaled >= 0 else ~unscaled).bit_length() // 8 + 1
    if size is not None and length > size:
        raise NotEncodable(f"{value!s:.100} does not fit in {size} bytes")
    return unscaled.to_bytes(size or length, "big", signed=True)


def _unscaled(value: Any, logical: Logical) -> int:
    """A decimal in units of its last digit."""
    if isinstance(value, bool) or not isinstance(value, Decimal | str | int | float):
        raise NotEncodable(f"a {type(value).__name__} is no decimal")
    if isinstance(value, int) and abs(value) >= 10**logical.precision:
        raise NotEncodable(f"an integer of more than {logical.precision} digits")
    # The shortest text of a float is what a JSON document had.
    text = repr(value) if isinstance(value, float) else str(value)
    if not _NUMBER.fullmatch(text) or len(text) > _MAX_DIGITS:
        raise NotEncodable(f"{text:.100} is no decimal number")
    sign, digits, exponent = Decimal(text).as_tuple()
    units, shift = int(Decimal((sign, digits, 0))), int(exponent) + logical.scale
    if not units:
        return 0
    if shift > logical.precision:
        raise NotEncodable(f"{text:.100} has more than {logical.precision} digits")
    if shift >= 0:
        return units * int(10**shift)
    whole, rest = divmod(units, int(10 ** min(-shift, len(digits) + 1)))
    if rest:
        raise NotEncodable(f"{text:.100} has more than {logical.scale} digits after the point")
    return whole


def _decimal_text(data: bytes, logical: Logical) -> str:
    unscaled = int.from_bytes(data, "big", signed=True)
    if abs(unscaled) >= 10**logical.precision:
        raise ValueError(f"a decimal of more than {logical.precision} digits")
    digits = tuple(map(int, str(abs(unscaled))))
    return format(Decimal((int(unscaled < 0), digits, -logical.scale)), "f")


def _address_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return inet_pton(AF_INET, value)
        except (OSError, ValueError):
            pass
    raise NotEncodable(f"{value!r:.100} is no IPv4 address")


@lru_cache(maxsize=8192)
def _address_text(data: bytes) -> str:
    return inet_ntop(AF_INET, data)
