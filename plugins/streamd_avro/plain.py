"""Writers of plain values. Each raises NotEncodable for anything that is not of its very type."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack, unpack
from typing import Any

from streamd_avro.problems import NotEncodable
from streamd_avro.schema import INT_MAX, INT_MIN, LONG_MAX, LONG_MIN
from streamd_avro.varint import varint, zigzag

Write = Callable[[Any, bytearray], None]


def _null(value: Any, out: bytearray) -> None:  # noqa: ARG001
    if value is not None:
        raise unexpected("null", value)


def _boolean(value: Any, out: bytearray) -> None:
    if value is not True and value is not False:
        raise unexpected("a boolean", value)
    out.append(value)


def _int(value: Any, out: bytearray) -> None:
    _integer(value, out, INT_MIN, INT_MAX, "an int")


def _long(value: Any, out: bytearray) -> None:
    _integer(value, out, LONG_MIN, LONG_MAX, "a long")


def _integer(value: Any, out: bytearray, least: int, most: int, what: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise unexpected(what, value)
    if not least <= value <= most:
        raise NotEncodable(f"{value if abs(value) < 10**50 else 'it'} does not fit in {what}")
    out += zigzag(value)


def _float(value: Any, out: bytearray) -> None:
    number = _number(value, "a float")
    try:
        data = pack("<f", number)
    except OverflowError:
        raise NotEncodable(f"{number!r} does not fit in a float") from None
    if not isinstance(value, float) and unpack("<f", data)[0] != value:
        raise NotEncodable("the integer would be rounded in a float")
    out += data


def _double(value: Any, out: bytearray) -> None:
    out += pack("<d", _number(value, "a double"))


def _number(value: Any, what: str) -> float:
    """A float as it is, an integer if a double holds it exactly."""
    if isinstance(value, float):
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise unexpected(what, value)
    try:
        number = float(value)
    except OverflowError:
        number = 0.0
    if number != value:
        raise NotEncodable(f"the integer would be rounded in {what}")
    return number


def write_string(value: Any, out: bytearray) -> None:
    if not isinstance(value, str):
        raise unexpected("a string", value)
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise NotEncodable(f"no UTF-8: {error.reason}") from None
    size = len(data)
    if size < 64:
        out.append(size << 1)
    else:
        out += varint(size << 1)
    out += data


def _bytes(value: Any, out: bytearray) -> None:
    if not isinstance(value, bytes | bytearray):
        raise unexpected("bytes", value)
    out += varint(len(value) << 1)
    out += value


def fixed_writer(size: int) -> Write:
    def write(value: Any, out: bytearray) -> None:
        if not isinstance(value, bytes | bytearray) or len(value) != size:
            raise unexpected(f"{size} bytes", value)
        out += value

    return write


def unexpected(what: str, value: Any) -> NotEncodable:
    return NotEncodable(f"expected {what}, got {type(value).__name__}")


PLAIN: dict[str, Write] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "float": _float,
    "double": _double,
    "bytes": _bytes,
    "string": write_string,
}
