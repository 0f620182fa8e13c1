"""The settings' own little language: `"top_k(payload.user_id, 10)"`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from streamd.api import ConfigError
from streamd_windows.aggregates.base import Aggregate, Custom
from streamd_windows.aggregates.distinct import Distinct
from streamd_windows.aggregates.groups import GroupCount, TopK
from streamd_windows.aggregates.numbers import Avg, Count, CountOf, Extreme, Sum
from streamd_windows.aggregates.ordered import Collect, First, Last
from streamd_windows.aggregates.percentiles import Percentiles

_CALL = re.compile(r"\s*([A-Za-z_]\w*)\s*\((.*)\)\s*", re.DOTALL)
_CLOSES = {")": "(", "]": "["}


class Column(NamedTuple):
    """One aggregate of a window: its name in the row, the field it reads (None: no field)."""

    name: str
    field: str | None
    aggregate: Aggregate


class _Kind(NamedTuple):
    """How many numbers follow the field: at least, at most; and the least that each may be."""

    make: Callable[..., Aggregate]
    most: int
    least_value: float = 1


_KINDS: dict[str, _Kind] = {
    "count": _Kind(CountOf, 0),
    "sum": _Kind(Sum, 0),
    "avg": _Kind(Avg, 0),
    "min": _Kind(lambda: Extreme(largest=False), 0),
    "max": _Kind(lambda: Extreme(largest=True), 0),
    "first": _Kind(First, 0),
    "last": _Kind(Last, 0),
    "distinct": _Kind(Distinct, 1),
    "group_count": _Kind(GroupCount, 1),
    "top_k": _Kind(TopK, 2),
    "percentiles": _Kind(Percentiles, 100, 0),
    "collect": _Kind(Collect, 1),
}


def parse_aggregates(
    settings: Mapping[str, str], custom: Mapping[str, type], taken: frozenset[str]
) -> list[Column]:
    """The columns that the setting `aggregate` names.

    `custom` are the aggregations of other plugins by name, `taken` the names that a row has
    already. Raises ConfigError that names the key.
    """
    columns = []
    for name, text in settings.items():
        try:
            if name in taken:
                raise ValueError(f"{name!r} is a field that every result has")
            columns.append(_column(name, text, custom))
        except ValueError as error:
            raise ConfigError(str(error), path=f"aggregate.{name}") from error
    return columns


def _column(name: str, text: str, custom: Mapping[str, type]) -> Column:
    match = _CALL.fullmatch(text)
    if match is None:
        raise ValueError(f'expected a call such as "sum(payload.amount)", got {text!r}')
    kind, arguments = match[1], _arguments(match[2])
    if kind == "count" and not arguments:
        return Column(name, None, Count())
    if not arguments:
        raise ValueError(f"{kind} needs a field: {kind}(payload.amount)")
    field, numbers = arguments[0], [_number(kind, argument) for argument in arguments[1:]]
    if kind in custom:
        return Column(name, field, _custom(kind, custom[kind], numbers))
    known = _KINDS.get(kind)
    if known is None:
        near = difflib.get_close_matches(kind, [*_KINDS, *custom], n=1)
        hint = f", did you mean {near[0]}?" if near else f"; there are {', '.join(_KINDS)}"
        raise ValueError(f"there is no aggregation {kind!r}{hint}")
    if len(numbers) > known.most:
        raise ValueError(f"{kind} takes a field and at most {known.most} numbers")
    if not all(number >= known.least_value for number in numbers):
        raise ValueError(f"the numbers of {kind} are at least {known.least_value:g}")
    if kind == "percentiles" and not all(number <= 100 for number in numbers):
        raise ValueError("a percentile is at most 100")
    if kind != "percentiles" and any(type(number) is float for number in numbers):
        raise ValueError(f"the numbers of {kind} are whole")
    return Column(name, field, known.make(*numbers))


def _custom(kind: str, cls: type, numbers: list[Any]) -> Aggregate:
    try:
        implementation = cls(*numbers)
    except TypeError as error:
        raise ValueError(f"{kind}: {error}") from error
    if isinstance(implementation, Aggregate):
        return implementation
    lacks = [m for m in ("create", "add", "merge", "result") if not hasattr(implementation, m)]
    if lacks:
        raise ValueError(f"the aggregation {kind!r} ({cls.__qualname__}) lacks {', '.join(lacks)}")
    try:
        return Custom(implementation)
    except Exception as error:
        raise ValueError(f"the aggregation {kind!r} ({cls.__qualname__}): {error}") from error


def _number(kind: str, text: str) -> float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{kind}: after the field come numbers, not {text!r}") from None


def _arguments(text: str) -> list[str]:
    """Split at the commas that stand in no bracket and no string."""
    parts, depth, quote, start = [], [], "", 0
    at = 0
    while at < len(text):
        c = text[at]
        if quote:
            if c == "\\":
                at += 1
            elif c == quote:
                quote = ""
        elif c in "'\"":
            quote = c
        elif c in "([":
            depth.append(c)
        elif c in _CLOSES and depth and depth[-1] == _CLOSES[c]:
            depth.pop()
        elif c == "," and not depth:
            parts.append(text[start:at].strip())
            start = at + 1
        at += 1
    parts.append(text[start:].strip())
    return [] if parts == [""] else parts
