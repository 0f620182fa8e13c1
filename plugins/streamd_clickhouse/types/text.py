"""String, FixedString, UUID and addresses."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

from streamd_clickhouse.types.base import ColumnType, Misfit, require
from streamd_columns.columns import iso_text


def varint(number: int) -> bytes:
    """An unsigned integer in LEB128, as the Native format writes lengths."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


# Lengths below this have their varint in a table: a look-up instead of a loop per value.
_TABLED = 1 << 14
_LENGTHS = [varint(number) for number in range(_TABLED)]
_LENGTHS_LATIN1 = [length.decode("latin-1") for length in _LENGTHS]


class String(ColumnType):
    """Any text or bytes. Times become ISO 8601 text; numbers do not fit, they need `@text`."""

    spelling = "String"
    expects = "a string"
    zero = ""

    def fit(self, values: list[Any]) -> list[Any]:
        kinds = set(map(type, values))
        if not kinds <= {str, bytes}:
            values = [self._one(value) for value in values]
        texts = values if kinds == {str} else [v for v in values if type(v) is str]
        joined = "".join(texts)
        if not joined.isascii():
            joined.encode()  # half a surrogate pair has no bytes
        return values

    def fit_ms(self, values: list[Any]) -> list[Any]:
        require(self, values, int)
        return [iso_text(value) for value in values]

    def _one(self, value: Any) -> str | bytes:
        match value:
            case str():
                return str(value)
            case bytes():
                return bytes(value)
            case datetime():
                moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
                return moment.isoformat().replace("+00:00", "Z")
            case date():
                return value.isoformat()
            case UUID():
                return str(value)
        raise self.misfit(value)

    def misfit(self, value: Any) -> Misfit:
        error = super().misfit(value)
        if isinstance(value, int | float | dict | list):
            return Misfit(f'{error} (map the column from "@text path" or "@json path" to store it)')
        return error

    def encode(self, values: Sequence[Any]) -> bytes:
        if str not in set(map(type, values)):
            return _encode_bytes(values)
        return _encode_bytes([v.encode() if type(v) is str else v for v in values])

    def write(self, values: list[Any]) -> bytes:
        """One join of all texts tells whether they are texts, and whether they are ASCII.

        Then the lengths go between them as Latin-1 characters and the whole column is encoded at
        once, instead of each value.
        """
        try:
            ascii_only = "".join(values).isascii()
        except TypeError:
            if set(map(type, values)) == {bytes}:
                return _encode_bytes(values)
            ascii_only = False
        lengths = list(map(len, values)) if ascii_only else []
        if lengths and max(lengths) < _TABLED:
            texts: list[str] = [""] * (2 * len(values))
            texts[::2] = map(_LENGTHS_LATIN1.__getitem__, lengths)
            texts[1::2] = values
            return "".join(texts).encode("latin-1")
        return self.encode(self.fit(values))


def _encode_bytes(values: Sequence[bytes]) -> bytes:
    lengths = list(map(len, values))
    parts: list[bytes] = [b""] * (2 * len(values))
    if lengths and max(lengths) >= _TABLED:
        parts[::2] = map(varint, lengths)
    else:
        parts[::2] = map(_LENGTHS.__getitem__, lengths)
    parts[1::2] = values
    return b"".join(parts)


class FixedString(ColumnType):
    """FixedString(N): at most N bytes, filled up with zero bytes."""

    zero = b""

    def __init__(self, length: int) -> None:
        self.spelling = f"FixedString({length})"
        self.length = length
        self.expects = f"a string of at most {length} bytes"

    def fit(self, values: list[Any]) -> list[Any]:
        require(self, values, str, bytes)
        fitted = [value.encode() if type(value) is str else value for value in values]
        if fitted and max(map(len, fitted)) > self.length:
            raise self.misfit(max(fitted, key=len))
        return fitted

    def encode(self, values: Sequence[Any]) -> bytes:
        return b"".join([value.ljust(self.length, b"\0") for value in values])


class Uuid(ColumnType):
    spelling = "UUID"
    expects = "a UUID"
    zero = UUID(int=0)

    def fit(self, values: list[Any]) -> list[Any]:
        require(self, values, str, UUID)
        return [value if type(value) is UUID else UUID(value) for value in values]

    def encode(self, values: Sequence[Any]) -> bytes:
        halves: list[int] = []
        for value in values:
            halves += (value.int >> 64, value.int & 0xFFFF_FFFF_FFFF_FFFF)
        return struct.pack(f"<{len(halves)}Q", *halves)


class Address(ColumnType):
    """IPv4 and IPv6."""

    def __init__(self, kind: type[IPv4Address] | type[IPv6Address]) -> None:
        self.spelling = "IPv4" if kind is IPv4Address else "IPv6"
        self.expects = f"an {self.spelling} address"
        self.zero = kind(0)
        self._kind = kind

    def fit(self, values: list[Any]) -> list[Any]:
        require(self, values, str, self._kind)
        kind = self._kind
        return [value if type(value) is kind else kind(value) for value in values]

    def encode(self, values: Sequence[Any]) -> bytes:
        if self._kind is IPv4Address:
            return struct.pack(f"<{len(values)}I", *map(int, values))
        return b"".join([value.packed for value in values])
