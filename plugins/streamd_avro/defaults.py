"""Defaults of fields, which a schema gives in JSON: whether one fits its type, and its bytes."""

from __future__ import annotations

from collections.abc import Iterable
from struct import pack
from typing import Any

from streamd_avro.schema import (
    INT_MAX,
    INT_MIN,
    LONG_MAX,
    LONG_MIN,
    NO_DEFAULT,
    Array,
    Enum,
    Fixed,
    Map,
    Primitive,
    Record,
    Type,
    Union,
    describe,
)
from streamd_avro.varint import zigzag

_SPECIAL_NUMBERS = ("NaN", "INF", "Infinity", "-INF", "-Infinity")


def default_problem(default: Any, schema: Type) -> str:
    """Why a default does not fit; empty if it does.

    The default of a union may belong to any branch, as of version 1.12 of the specification.
    """
    return "" if _fits(default, schema) else f"{default!r} is no {describe(schema)}"


def default_bytes(default: Any, schema: Type) -> bytes:
    """The encoding of a default that fits its type."""
    match schema:
        case Union(branches):
            at = next(at for at, branch in enumerate(branches) if _fits(default, branch))
            return zigzag(at) + default_bytes(default, branches[at])
        case Array(items):
            return _block(default_bytes(item, items) for item in default)
        case Map(values):
            return _block(
                _prefixed(key.encode()) + default_bytes(value, values)
                for key, value in default.items()
            )
        case Record(fields=fields):
            return b"".join(
                default_bytes(default.get(field.name, field.default), field.type)
                for field in fields
            )
        case Enum(symbols=symbols):
            return zigzag(symbols.index(default))
        case Fixed():
            return bytes(default, "latin-1")
        case Primitive(kind):
            return _primitive_bytes(default, kind)


def _primitive_bytes(default: Any, kind: str) -> bytes:
    match kind:
        case "null":
            return b""
        case "boolean":
            return bytes((default,))
        case "int" | "long":
            return zigzag(default)
        case "float":
            return pack("<f", float(default))
        case "double":
            return pack("<d", float(default))
        case "bytes":
            return _prefixed(default.encode("latin-1"))
        case _:
            return _prefixed(default.encode())


def _prefixed(data: bytes) -> bytes:
    return zigzag(len(data)) + data


def _block(items: Iterable[bytes]) -> bytes:
    encoded = list(items)
    return zigzag(len(encoded)) + b"".join(encoded) + b"\0" if encoded else b"\0"


def _fits(default: Any, schema: Type) -> bool:
    match schema:
        case Union(branches):
            return any(_fits(default, branch) for branch in branches)
        case Array(items):
            return isinstance(default, list) and all(_fits(item, items) for item in default)
        case Map(values):
            return isinstance(default, dict) and all(_fits(v, values) for v in default.values())
        case Enum(symbols=symbols):
            return default in symbols
        case Fixed(size=size):
            return _is_latin(default) and len(default) == size
        case Record():
            return isinstance(default, dict) and _fits_record(default, schema)
        case Primitive(kind):
            return _fits_primitive(default, kind)


def _fits_record(default: dict[str, Any], record: Record) -> bool:
    known = {field.name for field in record.fields}
    if not known.issuperset(default):
        return False
    for field in record.fields:
        value = default.get(field.name, field.default)
        if value is NO_DEFAULT or not _fits(value, field.type):
            return False
    return True


def _fits_primitive(default: Any, kind: str) -> bool:
    match kind:
        case "null":
            return default is None
        case "boolean":
            return isinstance(default, bool)
        case "int":
            return type(default) is int and INT_MIN <= default <= INT_MAX
        case "long":
            return type(default) is int and LONG_MIN <= default <= LONG_MAX
        case "float" | "double":
            return type(default) in (int, float) or default in _SPECIAL_NUMBERS
        case "bytes":
            return _is_latin(default)
        case _:
            return isinstance(default, str)


def _is_latin(value: Any) -> bool:
    return isinstance(value, str) and all(ord(letter) < 256 for letter in value)
