"""From the server's spelling of a type to the type."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from streamd_clickhouse.types.base import ColumnType
from streamd_clickhouse.types.containers import Array, LowCardinality, Map, Nullable
from streamd_clickhouse.types.numeric import Bool, DecimalType, Enum, Float, Int
from streamd_clickhouse.types.text import Address, FixedString, String, Uuid
from streamd_clickhouse.types.times import Date, DateTime, DateTime64

_SPELLING = re.compile(r"(\w+)(?:\((.*)\))?", re.DOTALL)
_MEMBER = re.compile(r"\s*'((?:[^'\\]|\\.|'')*)'\s*=\s*(-?\d+)\s*", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)|''", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f"}

_PLAIN: dict[str, Callable[[], ColumnType]] = {
    "String": String,
    "Bool": Bool,
    "Date": Date,
    "Date32": lambda: Date("Date32"),
    "UUID": Uuid,
    "Float32": lambda: Float(32),
    "Float64": lambda: Float(64),
    "IPv4": lambda: Address(IPv4Address),
    "IPv6": lambda: Address(IPv6Address),
}


class UnknownType(ValueError):  # noqa: N818
    """A type that the sink cannot write."""


def parse_type(spelling: str) -> ColumnType:
    """The column type that a server spells so.

    Raises UnknownType.
    """
    match = _SPELLING.fullmatch(spelling.strip())
    if match is None:
        raise UnknownType(spelling)
    name, inside = match[1], match[2]
    if inside is None and name in _PLAIN:
        return _PLAIN[name]()
    if integer := re.fullmatch(r"(U?)Int(8|16|32|64|128|256)", spelling):
        return Int(int(integer[2]), signed=not integer[1])
    if name == "DateTime":
        return DateTime(spelling)
    if inside is None:
        raise UnknownType(spelling)
    return _with_arguments(name, inside, spelling)


def _with_arguments(name: str, inside: str, spelling: str) -> ColumnType:
    arguments = split_arguments(inside)
    match name, len(arguments):
        case "Nullable", 1:
            return Nullable(parse_type(arguments[0]))
        case "LowCardinality", 1:
            return LowCardinality(parse_type(arguments[0]))
        case "Array", 1:
            return Array(parse_type(arguments[0]))
        case "Map", 2:
            return Map(parse_type(arguments[0]), parse_type(arguments[1]))
        case "SimpleAggregateFunction", 2:
            return parse_type(arguments[1])
        case "FixedString", 1:
            return FixedString(int(arguments[0]))
        case "Decimal", 2:
            return DecimalType(int(arguments[0]), int(arguments[1]))
        case "DateTime64", 1 | 2:
            return DateTime64(int(arguments[0]), spelling)
        case "Enum8" | "Enum16", _:
            return Enum(int(name[4:]), _members(inside, spelling), spelling)
    raise UnknownType(spelling)


def split_arguments(text: str) -> list[str]:
    """The arguments of a type, cut at the commas outside of brackets and quotes."""
    arguments, depth, quoted, start, at = [], 0, False, 0, 0
    while at < len(text):
        letter = text[at]
        if quoted:
            if letter == "\\":
                at += 1
            elif letter == "'":
                quoted = False
        elif letter == "'":
            quoted = True
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == "," and depth == 0:
            arguments.append(text[start:at].strip())
            start = at + 1
        at += 1
    arguments.append(text[start:].strip())
    return arguments


def _members(inside: str, spelling: str) -> dict[str, int]:
    members: dict[str, int] = {}
    for argument in split_arguments(inside):
        match = _MEMBER.fullmatch(argument)
        if match is None:
            raise UnknownType(spelling)
        name = _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]) if m[1] else "'", match[1])
        members[name] = int(match[2])
    return members
