"""Random schemas, changes to them such as people make, and values that fit them."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

from streamd_avro.schema import (
    INT_MAX,
    INT_MIN,
    LONG_MAX,
    LONG_MIN,
    Enum,
    Fixed,
    Primitive,
    Record,
    Type,
)
from streamd_avro.schema import Array as ArrayType
from streamd_avro.schema import Map as MapType
from streamd_avro.schema import Union as UnionType

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_SYMBOLS = "ABCDE"
_NAMES = "RSTUV"
_SPACES = ("", "x", "x.y")
_DECIMALS: tuple[Any, ...] = (
    {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
    {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 3},
    "bytes",
)


class Schemas:
    """Makes schemas as JSON. The names of types repeat from schema to schema."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._used: list[str] = []

    def any(self, depth: int = 3) -> Any:
        chance = self._chance
        if depth == 0 or chance.random() < 0.25:
            return chance.choice((*PRIMITIVES, chance.choice(_DECIMALS)))
        kind = chance.choice(("array", "map", "union", "fixed", "enum", *["record"] * 4))
        if kind == "array":
            return {"type": "array", "items": self.any(depth - 1)}
        if kind == "map":
            return {"type": "map", "values": self.any(depth - 1)}
        if kind == "union":
            return self.union(depth)
        free = [name for name in _NAMES if name not in self._used]
        if not free:
            return chance.choice((*_DECIMALS, *self._used))
        self._used.append(free[0])
        named: dict[str, Any] = {"type": kind, "name": free[0]}
        if kind == "fixed":
            return {**named, "size": chance.randrange(1, 4)}
        if kind == "enum":
            return {**named, "symbols": list(_SYMBOLS[: chance.randrange(1, 5)])}
        return {**named, "fields": self.fields(depth)}

    def fields(self, depth: int) -> list[Any]:
        names = self._chance.sample("abcdef", self._chance.randrange(0, 4))
        return [with_default(self._chance, name, self.any(depth - 1)) for name in names]

    def union(self, depth: int) -> list[Any]:
        branches: dict[str, Any] = {}
        for _ in range(self._chance.randrange(1, 4)):
            branch = self.any(depth - 1)
            if not isinstance(branch, list):
                branches.setdefault(_kind(branch), branch)
        return list(branches.values()) or ["null"]


def with_default(chance: Random, name: str, schema: Any) -> dict[str, Any]:
    field = {"name": name, "type": schema}
    if chance.random() < 0.4:
        simple = {
            "null": None,
            "boolean": True,
            "int": 1,
            "long": 2,
            "float": 0.5,
            "double": 1.5,
            "bytes": "b",
            "string": "s",
        }
        first = schema[0] if isinstance(schema, list) else schema
        kind = first["type"] if isinstance(first, dict) else first
        if kind in simple:
            field["default"] = simple[kind]
        elif kind == "array":
            field["default"] = []
        elif kind == "map":
            field["default"] = {}
    return field


def schema_of(chance: Random) -> Any:
    """A schema, most of the time a record."""
    made = Schemas(chance)
    if chance.random() < 0.3:
        return made.any()
    made._used.append("Top")
    top: dict[str, Any] = {"type": "record", "name": "Top", "fields": made.fields(3)}
    if chance.random() < 0.3:
        top["namespace"] = chance.choice(_SPACES)
    if chance.random() < 0.2:
        top["fields"].append({"name": "z", "type": ["null", "Top"], "default": None})
    return top


def changed(chance: Random, schema: Any) -> Any:
    """The schema after one to three changes; it may have become invalid."""
    copied = [copy.deepcopy(schema)]
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        holder, key = chance.choice(_places(copied))
        holder[key] = _change(chance, holder[key])
    return copied[0]


def _places(holder: Any) -> list[tuple[Any, Any]]:
    """Where in a schema there is a type: the dict or list, and the key."""
    found = []
    for key, value in enumerate(holder) if isinstance(holder, list) else ():
        found += [(holder, key), *_inner(value)]
    return found


def _inner(schema: Any) -> list[tuple[Any, Any]]:
    if isinstance(schema, list):
        return _places(schema)
    found: list[tuple[Any, Any]] = []
    if isinstance(schema, dict):
        for key in ("items", "values"):
            if key in schema:
                found += [(schema, key), *_inner(schema[key])]
        for field in schema.get("fields", ()):
            found += [(field, "type"), *_inner(field["type"])]
    return found


def _change(chance: Random, schema: Any) -> Any:
    if chance.random() < 0.2:
        return [schema, "null"] if not isinstance(schema, list) else schema[::-1]
    if isinstance(schema, list):
        return schema[:-1] or schema if chance.random() < 0.5 else [*schema, "string"]
    if not isinstance(schema, dict):
        return chance.choice((*PRIMITIVES, *_DECIMALS, {"type": "array", "items": schema}))
    kind = schema["type"]
    if kind == "record":
        return _change_record(chance, schema)
    if kind == "enum":
        symbols = list(_SYMBOLS[: chance.randrange(1, 6)])
        more = {"default": chance.choice(symbols)} if chance.random() < 0.5 else {}
        return {**schema, "symbols": symbols, **more}
    if kind == "fixed":
        return {**schema, "size": chance.randrange(1, 4)}
    if kind == "bytes":
        return chance.choice(_DECIMALS)
    return {"type": "map", "values": schema.get("items", "int")}


def _change_record(chance: Random, schema: dict[str, Any]) -> Any:
    fields = list(schema["fields"])
    what = chance.choice(("add", "remove", "rename field", "rename", "space", "shuffle"))
    if what == "add":
        new = with_default(chance, chance.choice("ghi"), chance.choice(PRIMITIVES))
        fields.insert(chance.randrange(len(fields) + 1), new)
    elif what == "remove" and fields:
        fields.pop(chance.randrange(len(fields)))
    elif what == "rename field" and fields:
        at = chance.randrange(len(fields))
        old = fields[at]["name"]
        aliases = {"aliases": [old]} if chance.random() < 0.6 else {}
        fields[at] = {**fields[at], "name": chance.choice("jkl"), **aliases}
    elif what == "shuffle":
        chance.shuffle(fields)
    elif what == "space":
        return {**schema, "namespace": chance.choice(_SPACES)}
    elif what == "rename":
        # The alias is sometimes the full name, sometimes relative, sometimes of another namespace.
        space = chance.choice(("", "", "x.", "y."))
        aliases = {"aliases": [space + schema["name"]]} if chance.random() < 0.7 else {}
        return {**schema, "name": chance.choice("WXY"), **aliases}
    return {**schema, "fields": fields}


def _kind(schema: Any) -> str:
    if isinstance(schema, dict):
        return str(schema.get("name", schema["type"]))
    return str(schema)


def value_of(chance: Random, schema: Type, depth: int = 6) -> Any:
    """A value that fits a schema; RecursionError if there is none that ends."""
    match schema:
        case Primitive(kind):
            return _primitive(chance, kind)
        case Fixed(size=size):
            return chance.randbytes(size)
        case Enum(symbols=symbols):
            return chance.choice(symbols)
        case ArrayType(items):
            count = chance.randrange(3) if depth > 0 else 0
            return [value_of(chance, items, depth - 1) for _ in range(count)]
        case MapType(values):
            keys = chance.sample("pqr", chance.randrange(3)) if depth > 0 else []
            return {key: value_of(chance, values, depth - 1) for key in keys}
        case UnionType(branches):
            if depth <= 0:
                simple: list[Type] = [one for one in branches if isinstance(one, Primitive)]
                branches = simple or branches
            return value_of(chance, chance.choice(branches), depth - 1)
        case Record(fields=fields):
            if depth < -20:
                raise RecursionError
            return {field.name: value_of(chance, field.type, depth - 1) for field in fields}


def _primitive(chance: Random, kind: str) -> Any:
    match kind:
        case "null":
            return None
        case "boolean":
            return chance.random() < 0.5
        case "int":
            return chance.choice((0, -1, 300, INT_MIN, INT_MAX))
        case "long":
            return chance.choice((0, -65, 10**10, LONG_MIN, LONG_MAX))
        case "float":
            return chance.choice((0.5, -2.25))
        case "double":
            return chance.random()
        case "bytes":
            # UTF-8, so that it may be promoted to a string.
            return chance.choice((b"", b"ab", b"x" * 70))
        case _:
            return chance.choice(("", "é", "x" * 70))
