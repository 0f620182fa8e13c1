"""Integers, floats, Bool, Decimal, Enum."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation, localcontext
from math import isfinite
from typing import Any

from streamd_clickhouse.types.base import ColumnType, Misfit, require, shown

_FORMATS = {(8, True): "b", (16, True): "h", (32, True): "i", (64, True): "q"}
_FORMATS |= {(bits, False): letter.upper() for (bits, _), letter in list(_FORMATS.items())}
_FLOAT32_MAX = 3.4028234663852886e38
_DECIMAL_BITS = ((9, 32), (18, 64), (38, 128), (76, 256))


def pack_ints(values: Sequence[int], bits: int, *, signed: bool) -> bytes:
    """Integers in range, little-endian."""
    if letter := _FORMATS.get((bits, signed)):
        return struct.pack(f"<{len(values)}{letter}", *values)
    size = bits // 8
    return b"".join([value.to_bytes(size, "little", signed=signed) for value in values])


class Int(ColumnType):
    """Int8 to Int256 and UInt8 to UInt256. UInt8 takes bools too: it was ClickHouse's Bool."""

    def __init__(self, bits: int, *, signed: bool) -> None:
        self.spelling = f"{'' if signed else 'U'}Int{bits}"
        self.bits, self.signed = bits, signed
        self.low = -(2 ** (bits - 1)) if signed else 0
        self.high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
        self.expects = f"an integer from {self.low} to {self.high}"
        self.zero = 0
        self._types = (int, bool) if self.spelling == "UInt8" else (int,)

    def fit(self, values: list[Any]) -> list[Any]:
        kinds = require(self, values, *self._types)
        if values and (min(values) < self.low or max(values) > self.high):
            raise self.misfit(next(v for v in values if not self.low <= v <= self.high))
        return list(map(int, values)) if bool in kinds else values

    def encode(self, values: Sequence[Any]) -> bytes:
        return pack_ints(values, self.bits, signed=self.signed)


class Bool(ColumnType):
    spelling = "Bool"
    expects = "true or false"
    zero = False

    def fit(self, values: list[Any]) -> list[Any]:
        require(self, values, bool)
        return values

    def encode(self, values: Sequence[Any]) -> bytes:
        return bytes(values)


class Float(ColumnType):
    """Float32 and Float64. Rounds floats as the type does, but takes only exact integers."""

    def __init__(self, bits: int) -> None:
        self.spelling = f"Float{bits}"
        self.expects = f"a finite number that {self.spelling} can hold"
        self.zero = 0.0
        self._letter = "f" if bits == 32 else "d"

    def fit(self, values: list[Any]) -> list[Any]:
        kinds = require(self, values, float, int)
        if not all(map(isfinite, values)):
            raise self.misfit(next(value for value in values if not isfinite(value)))
        if self._letter == "f" and values and max(max(values), -min(values)) > _FLOAT32_MAX:
            raise self.misfit(max(values, key=abs))
        if int in kinds:
            return [self._exact(v) if type(v) is int else v for v in values]
        return values

    def _exact(self, value: int) -> float:
        (stored,) = struct.unpack(self._letter, struct.pack(self._letter, value))
        if stored != value:
            raise Misfit(f"{value} is an integer that {self.spelling} would round")
        return float(value)

    def encode(self, values: Sequence[Any]) -> bytes:
        return struct.pack(f"<{len(values)}{self._letter}", *values)


class DecimalType(ColumnType):
    """Decimal(P, S). Takes numbers with at most S decimals; a float counts as it is printed."""

    zero = Decimal(0)

    def __init__(self, precision: int, scale: int) -> None:
        self.spelling = f"Decimal({precision}, {scale})"
        self.scale = scale
        self.expects = f"a number with at most {precision - scale} digits and {scale} decimals"
        self.bits = next(bits for limit, bits in _DECIMAL_BITS if precision <= limit)
        self._limit = 10**precision
        self._digits = 80 + precision

    def fit(self, values: list[Any]) -> list[Any]:
        require(self, values, int, float, str, Decimal)
        with localcontext() as context:
            context.prec = self._digits
            return [self._one(value) for value in values]

    def _one(self, value: Any) -> Decimal:
        try:
            number = value if type(value) is Decimal else Decimal(str(value))
        except InvalidOperation:
            raise self.misfit(value) from None
        if not number.is_finite() or number.adjusted() > 80:
            raise self.misfit(value)
        ticks = number.scaleb(self.scale)
        if ticks != ticks.to_integral_value() or abs(ticks) >= self._limit:
            raise self.misfit(value)
        return number

    def encode(self, values: Sequence[Any]) -> bytes:
        with localcontext() as context:
            context.prec = self._digits
            ticks = [int(value.scaleb(self.scale)) for value in values]
        return pack_ints(ticks, self.bits, signed=True)


class Enum(ColumnType):
    """Enum8 and Enum16, by name or by number. Fitted values are the numbers."""

    def __init__(self, bits: int, members: Mapping[str, int], spelling: str) -> None:
        self.spelling = spelling
        self.bits = bits
        names = ", ".join(list(members)[:8]) + (", ..." if len(members) > 8 else "")
        self.expects = f"one of {names}"
        self.zero = min(members.values())
        self._numbers: dict[str | int, int] = dict(members.items())
        self._numbers.update({number: number for number in members.values()})

    def fit(self, values: list[Any]) -> list[Any]:
        require(self, values, str, int)
        numbers = self._numbers
        try:
            return [numbers[value] for value in values]
        except KeyError as error:
            raise Misfit(f"expected {self.expects}, got {shown(error.args[0])}") from None

    def encode(self, values: Sequence[Any]) -> bytes:
        return pack_ints(values, self.bits, signed=True)
