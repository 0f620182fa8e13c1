"""Rows that are expected against rows that came: pure, on plain JSON values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec


class Difference(NamedTuple):
    """Where a row is not as expected, for people."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def plain(value: Any) -> Any:
    """An event as JSON values; what JSON has no form for becomes text."""
    return msgspec.to_builtins(value, enc_hook=str, str_keys=True)


def shown(value: Any) -> str:
    """A plain value as JSON text."""
    return msgspec.json.encode(value).decode()


def differences(
    expected: Any, found: Any, *, exact: bool = False, path: str = ""
) -> Iterator[Difference]:
    """Every difference of two plain values. Unless `exact`, tables may have more fields."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            where = f"{path}.{key}" if path else key
            if key in found:
                yield from differences(value, found[key], exact=exact, path=where)
            else:
                yield Difference(where, f"expected {shown(value)}, it is missing")
        for key in found.keys() - expected.keys() if exact else ():
            where = f"{path}.{key}" if path else key
            yield Difference(where, f"not expected, got {shown(found[key])}")
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            yield Difference(path, f"expected {shown(expected)}, got {shown(found)}")
            return
        for at, (value, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(value, other, exact=exact, path=f"{path}[{at}]")
    elif isinstance(expected, bool) != isinstance(found, bool) or expected != found:
        yield Difference(path, f"expected {shown(expected)}, got {shown(found)}")


def fits(expected: Any, found: Any, *, exact: bool = False) -> bool:
    """Whether a row is as expected."""
    return next(differences(expected, found, exact=exact), None) is None


def assign(
    expected: Sequence[Any], found: Sequence[Any], *, exact: bool = False, in_order: bool = False
) -> dict[int, int]:
    """For as many of the expected rows as possible, a row of its own that fits: index to index."""
    fitting = [
        [at for at, row in enumerate(found) if fits(want, row, exact=exact)] for want in expected
    ]
    return _in_order(fitting) if in_order else _in_any_order(fitting)


def nearest(expected: Any, found: Sequence[Any]) -> int | None:
    """The row that has most in common with the expected one; None if there is none."""
    return max(range(len(found)), key=lambda at: _alike(expected, found[at]), default=None)


def _alike(expected: Any, found: Any) -> int:
    """How many single values are the same in both."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return sum(_alike(value, found[key]) for key, value in expected.items() if key in found)
    if isinstance(expected, list) and isinstance(found, list):
        return sum(map(_alike, expected, found))
    return int(fits(expected, found))


def _in_order(fitting: Sequence[Sequence[int]]) -> dict[int, int]:
    taken: dict[int, int] = {}
    last = -1
    for want, places in enumerate(fitting):
        if (place := next((at for at in places if at > last), None)) is not None:
            taken[want] = last = place
    return taken


def _in_any_order(fitting: Sequence[Sequence[int]]) -> dict[int, int]:
    """A vague row must not take the place of a precise one: it gives way to another place."""
    owners: dict[int, int] = {}

    def settle(want: int, tried: set[int]) -> bool:
        for place in fitting[want]:
            if place in tried:
                continue
            tried.add(place)
            if place not in owners or settle(owners[place], tried):
                owners[place] = want
                return True
        return False

    for want in range(len(fitting)):
        settle(want, set())
    return {want: place for place, want in owners.items()}
