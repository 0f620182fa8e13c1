"""Avro schemas as a graph of types: names are resolved, so that recursion is a plain reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

PRIMITIVES = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
NAMED = frozenset(("record", "enum", "fixed"))

INT_MIN, INT_MAX = -(2**31), 2**31 - 1
LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1


class SchemaError(ValueError):
    """A schema that the Avro specification does not allow. The message starts with where."""


class NotRegisteredError(LookupError):
    """There is no such schema, or no such version of it."""


class Logical(NamedTuple):
    """A logical type; precision and scale are those of a decimal."""

    name: str
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        return f"{self.name} {self.precision}, {self.scale}" if self.precision else self.name


class NoDefault:
    """Stands for the default that a field or enum does not have; null is one."""

    def __repr__(self) -> str:
        return "NO_DEFAULT"


NO_DEFAULT = NoDefault()


# Types are compared by identity: two that look the same may be parts of different schemas.


@dataclass(eq=False, slots=True)
class Primitive:
    kind: str
    logical: Logical | None = None


@dataclass(eq=False, slots=True)
class Array:
    items: Type
    kind: str = "array"


@dataclass(eq=False, slots=True)
class Map:
    values: Type
    kind: str = "map"


@dataclass(eq=False, slots=True)
class Union:
    branches: list[Type]
    kind: str = "union"


@dataclass(eq=False, slots=True)
class Fixed:
    """`name` and `aliases` are full names."""

    name: str
    size: int
    aliases: tuple[str, ...] = ()
    logical: Logical | None = None
    kind: str = "fixed"


@dataclass(eq=False, slots=True)
class Enum:
    name: str
    symbols: tuple[str, ...]
    default: str | None = None
    aliases: tuple[str, ...] = ()
    kind: str = "enum"


@dataclass(eq=False, slots=True)
class Field:
    """`default` is what the schema says, in JSON."""

    name: str
    type: Type
    default: Any = NO_DEFAULT
    aliases: tuple[str, ...] = ()


@dataclass(eq=False, slots=True)
class Record:
    name: str
    fields: list[Field] = field(default_factory=list)
    aliases: tuple[str, ...] = ()
    kind: str = "record"


Named = Fixed | Enum | Record
Type = Primitive | Array | Map | Union | Named


def unqualified(name: str) -> str:
    """`a.b.Name` -> `Name`."""
    return name.rpartition(".")[2]


def describe(schema: Type) -> str:
    """A type in a few words: `record a.B`, `array of string`, `union of null and int`."""
    match schema:
        case Primitive(kind, logical):
            return f"{kind} ({logical})" if logical else kind
        case Array(items):
            return f"array of {describe(items)}"
        case Map(values):
            return f"map of {describe(values)}"
        case Union(branches):
            return f"union of {' and '.join(map(describe, branches))}"
        case _:
            return f"{schema.kind} {schema.name}"


def is_optional(schema: Type) -> bool:
    """Whether null is among the values."""
    if isinstance(schema, Union):
        return any(branch.kind == "null" for branch in schema.branches)
    return schema.kind == "null"
