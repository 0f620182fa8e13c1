"""What differs between two schemas, for people."""

from __future__ import annotations

from typing import Any

import msgspec

from streamd_avro.parsing import parse
from streamd_avro.schema import (
    NO_DEFAULT,
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Record,
    Type,
    Union,
    describe,
)


def differences(old: Any, new: Any) -> list[str]:
    """One line per difference: `+ $.payload.tags: array of string`.

    Raises SchemaError.
    """
    before, after = _lines(parse(old)), _lines(parse(new))
    found = []
    for path in [*before, *(path for path in after if path not in before)]:
        if before.get(path) == after.get(path):
            continue
        if path in before:
            found.append(f"- {path}: {before[path]}")
        if path in after:
            found.append(f"+ {path}: {after[path]}")
    return found


def _lines(schema: Type) -> dict[str, str]:
    """Every type of a schema in words, by where it is."""
    lines: dict[str, str] = {}
    _collect(schema, "$", "", lines, set())
    return lines


def _collect(schema: Type, path: str, more: str, lines: dict[str, str], seen: set[Type]) -> None:
    lines[path] = _words(schema) + more
    if schema in seen:
        return
    seen.add(schema)
    match schema:
        case Record(fields=fields):
            for field in fields:
                _collect(field.type, f"{path}.{field.name}", _options(field), lines, seen)
        case Array(items):
            _collect(items, f"{path}[]", "", lines, seen)
        case Map(values):
            _collect(values, f"{path}{{}}", "", lines, seen)
        case Union(branches):
            for branch in branches:
                if isinstance(branch, Record | Enum | Fixed | Array | Map):
                    name = branch.kind if isinstance(branch, Array | Map) else branch.name
                    _collect(branch, f"{path}<{name}>", "", lines, seen)


def _words(schema: Type) -> str:
    words = describe(schema)
    if isinstance(schema, Enum):
        words += f" of {', '.join(schema.symbols)}"
        words += f", by default {schema.default}" if schema.default else ""
    if isinstance(schema, Fixed):
        words += f" of {schema.size} bytes"
    if isinstance(schema, Record | Enum | Fixed) and schema.aliases:
        words += f", once {', '.join(schema.aliases)}"
    return words


def _options(field: Field) -> str:
    words = f", once {', '.join(field.aliases)}" if field.aliases else ""
    if field.default is not NO_DEFAULT:
        words += f", default {msgspec.json.encode(field.default).decode()}"
    return words
