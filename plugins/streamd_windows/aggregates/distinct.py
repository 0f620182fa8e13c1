"""distinct: the values themselves up to a bound, then HyperLogLog, about 0.8 % off.

Which of the two a cell is depends on the events alone, not on their order nor on where they were
cut: the sketch is taken exactly if there are more values than the bound.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from streamd_windows.aggregates.base import Aggregate, Cells, Order
from streamd_windows.keys import Key, canonical_all
from streamd_windows.packing import key_of, packed_key

DEFAULT_BOUND = 10_000
_BITS = 14
_REGISTERS = 1 << _BITS
_REST_BITS = 64 - _BITS


class Distinct(Aggregate):
    """`distinct(field)`: how many different values. A cell is a set, or the sketch's registers."""

    def __init__(self, bound: int = DEFAULT_BOUND) -> None:
        self.bound = bound

    def update(
        self,
        cells: Cells,
        keys: Sequence[Key],
        values: Sequence[Any],
        order: Sequence[Order],  # noqa: ARG002
    ) -> int:
        skipped, get, bound = 0, cells.get, self.bound
        for key, value in zip(keys, canonical_all(values), strict=True):
            if value is None:
                skipped += 1
                continue
            cell = get(key)
            if cell is None:
                cells[key] = {value}
            elif type(cell) is set:
                cell.add(value)
                if len(cell) > bound:
                    cells[key] = sketch(cell)
            else:
                add(cell, value)
        return skipped

    def merge(self, mine: Any, other: Any) -> Any:
        if type(mine) is set and type(other) is set:
            mine |= other
            return sketch(mine) if len(mine) > self.bound else mine
        if type(mine) is set:
            mine, other = bytearray(other), mine
        if type(other) is set:
            for value in other:
                add(mine, value)
            return mine
        return bytearray(map(max, mine, other))

    def copy(self, cell: Any) -> Any:
        return cell.copy()

    def result(self, cell: Any) -> int:
        if cell is None:
            return 0
        return len(cell) if type(cell) is set else estimate(cell)

    def encode(self, cell: Any) -> Any:
        return list(cell) if type(cell) is set else zlib.compress(cell, 1)

    def decode(self, data: Any, partition: str) -> Any:  # noqa: ARG002
        if type(data) is bytes:
            return bytearray(zlib.decompress(data))
        return set(map(key_of, data))


def sketch(values: Iterable[Key]) -> bytearray:
    """HyperLogLog registers of some values."""
    registers = bytearray(_REGISTERS)
    for value in values:
        add(registers, value)
    return registers


def add(registers: bytearray, value: Key) -> None:
    """Add one value. The hash is the same on every machine and in every run."""
    bits = int.from_bytes(blake2b(packed_key(value), digest_size=8).digest())
    rest = bits & ((1 << _REST_BITS) - 1)
    rank = _REST_BITS - rest.bit_length() + 1
    register = bits >> _REST_BITS
    if rank > registers[register]:
        registers[register] = rank


def estimate(registers: bytearray) -> int:
    """How many different values the registers have seen.

    By the estimator of Ertl (2017): without bias at any size, where the classic one, which changes
    its method at 2.5 values per register, is 2 % too high.
    """
    empty, *counts, full = [registers.count(rank) for rank in range(_REST_BITS + 2)]
    total = _REGISTERS * _tau(1 - full / _REGISTERS)
    for count in reversed(counts):
        total = (total + count) / 2
    total += _REGISTERS * _sigma(empty / _REGISTERS)
    return round(_REGISTERS**2 / (2 * math.log(2) * total))


def _sigma(part: float) -> float:
    """For the registers that are empty."""
    if part == 1:
        return math.inf
    total, before, weight = part, -1.0, 1.0
    while total != before:
        part *= part
        before, total = total, total + part * weight
        weight *= 2
    return total


def _tau(part: float) -> float:
    """For the registers that are full."""
    if part in (0, 1):
        return 0
    total, before, weight = 1 - part, -1.0, 1.0
    while total != before:
        part = math.sqrt(part)
        weight /= 2
        before, total = total, total - (1 - part) ** 2 * weight
    return total / 3
