"""Types made of other types: Nullable, LowCardinality, Array, Map."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

from streamd_clickhouse.types.base import ColumnType, require
from streamd_clickhouse.types.numeric import pack_ints

# The header of LowCardinality data: the keys follow, and are all that the indexes refer to.
_OWN_KEYS = 0x200 | 0x400
_INDEX_BITS = (8, 16, 32, 64)


class Nullable(ColumnType):
    zero = None
    nullable = True
    joins = False

    def __init__(self, inner: ColumnType) -> None:
        self.inner = inner
        self.spelling = f"Nullable({inner.spelling})"
        self.expects = f"{inner.expects} or null"

    def fit(self, values: list[Any]) -> list[Any]:
        return self._some(values, ms=False)

    def fit_ms(self, values: list[Any]) -> list[Any]:
        return self._some(values, ms=True)

    def _some(self, values: list[Any], *, ms: bool) -> list[Any]:
        fit = self.inner.fit_ms if ms else self.inner.fit
        if type(None) not in set(map(type, values)):
            return fit(values)
        there = iter(fit([value for value in values if value is not None]))
        return [None if value is None else next(there) for value in values]

    def encode(self, values: Sequence[Any]) -> bytes:
        nulls = bytes([value is None for value in values])
        zero = self.inner.zero
        if 1 in nulls:
            values = [zero if value is None else value for value in values]
        return nulls + self.inner.encode(values)


class LowCardinality(ColumnType):
    """A dictionary of the distinct values of the block, and an index per row."""

    joins = False
    prefix = struct.pack("<q", 1)  # the version of the dictionary's serialization

    def __init__(self, inner: ColumnType) -> None:
        self.spelling = f"LowCardinality({inner.spelling})"
        self.inner = inner
        self.nullable = inner.nullable
        self.expects, self.zero = inner.expects, inner.zero
        self._keys = inner.inner if isinstance(inner, Nullable) else inner

    def fit(self, values: list[Any]) -> list[Any]:
        return self.inner.fit(values)

    def fit_ms(self, values: list[Any]) -> list[Any]:
        return self.inner.fit_ms(values)

    def encode(self, values: Sequence[Any]) -> bytes:
        if not values:
            return b""  # an empty array of them has no dictionary
        distinct: dict[Any, None] = dict.fromkeys(values)
        keys = list(distinct)
        if self.nullable:
            distinct.pop(None, None)
            keys = [self._keys.zero, *distinct]  # index 0 is null
            indexes = {key: index for index, key in enumerate(distinct, start=1)}
            indexes[None] = 0
        else:
            indexes = {key: index for index, key in enumerate(keys)}
        width = next(i for i, bits in enumerate(_INDEX_BITS) if len(keys) <= 2**bits)
        rows = pack_ints([indexes[v] for v in values], _INDEX_BITS[width], signed=False)
        header = struct.pack("<qq", _OWN_KEYS | width, len(keys))
        return header + self._keys.encode(keys) + struct.pack("<q", len(values)) + rows


class Array(ColumnType):
    zero: Any = ()
    joins = False

    def __init__(self, inner: ColumnType) -> None:
        self.spelling = f"Array({inner.spelling})"
        self.expects = f"a list, each item {inner.expects}"
        self.inner = inner
        self.prefix = inner.prefix

    def fit(self, values: list[Any]) -> list[Any]:
        require(self, values, list, tuple)
        flat = iter(self.inner.fit(list(chain.from_iterable(values))))
        return [[next(flat) for _ in value] for value in values]

    def encode(self, values: Sequence[Any]) -> bytes:
        flat = list(chain.from_iterable(values))
        return _offsets(values) + self.inner.encode(flat)


class Map(ColumnType):
    zero: Any = {}  # noqa: RUF012 - never changed
    joins = False

    def __init__(self, key: ColumnType, value: ColumnType) -> None:
        self.spelling = f"Map({key.spelling}, {value.spelling})"
        self.expects = f"an object, each key {key.expects}, each value {value.expects}"
        self.key, self.value = key, value
        self.prefix = key.prefix + value.prefix

    def fit(self, values: list[Any]) -> list[Any]:
        require(self, values, dict)
        keys = iter(self.key.fit(list(chain.from_iterable(values))))
        items = iter(self.value.fit([item for value in values for item in value.values()]))
        return [{next(keys): next(items) for _ in value} for value in values]

    def encode(self, values: Sequence[Any]) -> bytes:
        keys = list(chain.from_iterable(values))
        items = [item for value in values for item in value.values()]
        return _offsets(values) + self.key.encode(keys) + self.value.encode(items)


def _offsets(values: Sequence[Any]) -> bytes:
    return pack_ints(list(accumulate(map(len, values))), 64, signed=False)
