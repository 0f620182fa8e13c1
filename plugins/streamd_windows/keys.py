"""Keys: values of an event's fields in a form that groups them as JSON would tell them apart.

Python holds True == 1 == 1.0 and hashes them alike; here true and 1 are two keys, and 1.0 is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from streamd.api import ConfigError
from streamd_expressions import ExpressionError, compile_expression

Key = Any  # None, str, int, float or Flag; a tuple of these where there are several fields

_PLAIN_INTS = 1 << 63
_READY = frozenset({str, type(None)})


class Flag:
    """A bool as a key. Two exist, `FLAGS`, equal to themselves alone."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Flag({self.value})"


FLAGS = (Flag(False), Flag(True))


def canonical(value: Any) -> Key:
    """One value as a key: scalars stay, numbers out of range and objects become JSON text."""
    kind = type(value)
    if kind is str or value is None:
        return value
    if kind is bool:
        return FLAGS[value]
    if kind is int and -_PLAIN_INTS <= value < _PLAIN_INTS:
        return value
    if kind is float:
        if value != value:
            return None
        # Also where floats are further apart than integers: equal keys must look alike.
        whole = -_PLAIN_INTS <= value < _PLAIN_INTS and value.is_integer()
        return int(value) if whole else value
    if kind is Flag:
        return value
    text = msgspec.json.encode(value, enc_hook=str, order="sorted")
    # A date, a UUID and the like are texts, without the quotes.
    shown: str = msgspec.json.decode(text) if text[:1] == b'"' else text.decode(errors="replace")
    return shown


def canonical_all(values: Sequence[Any]) -> Sequence[Key]:
    """`canonical` of each; the very list where nothing has to change."""
    if _READY.issuperset(map(type, values)):
        return values
    return [canonical(value) for value in values]


def plain(key: Any) -> Any:
    """A single key value as it goes into a result."""
    return key.value if type(key) is Flag else key


def compile_field(text: str, path: str) -> Callable[..., list[Any]]:
    """A function of (values, now_ms, errors) that evaluates an expression for each value.

    Raises ConfigError, naming the setting `path`, if it is not an expression.
    """
    try:
        return compile_expression(text).map_values
    except ExpressionError as error:
        raise ConfigError(str(error), path=path) from error


def key_reader(fields: Sequence[str], path: str = "key") -> Callable[[list[Any]], list[Key]]:
    """A function that gives the key of each event; without fields all have the key None."""
    readers = [compile_field(text, f"{path}[{n}]") for n, text in enumerate(fields)]
    if not readers:
        return lambda values: [None] * len(values)
    if len(readers) == 1:
        read = readers[0]
        return lambda values: list(canonical_all(read(values, None, {})))

    def read_several(values: list[Any]) -> list[Key]:
        columns = [canonical_all(read(values, None, {})) for read in readers]
        return list(zip(*columns, strict=True))

    return read_several


def key_names(fields: Sequence[str]) -> tuple[str, ...]:
    """What the fields of a key are called in a result: their last part where that is unique."""
    short = [field.rpartition(".")[2] or field for field in fields]
    if len(set(short)) == len(short) and all(name.isidentifier() for name in short):
        return tuple(short)
    return tuple(fields)


def key_dict(names: Sequence[str], key: Key) -> dict[str, Any]:
    """A key as a result shows it."""
    if len(names) == 1:
        return {names[0]: plain(key)}
    return {name: plain(part) for name, part in zip(names, key or (), strict=bool(names))}
