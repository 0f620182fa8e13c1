"""From JSON to a schema, strictly: what the specification does not allow is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from streamd_avro.defaults import default_problem
from streamd_avro.schema import (
    NAMED,
    NO_DEFAULT,
    PRIMITIVES,
    Array,
    Enum,
    Field,
    Fixed,
    Logical,
    Map,
    Named,
    Primitive,
    Record,
    SchemaError,
    Type,
    Union,
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ORDERS = ("ascending", "descending", "ignore")
_COMPLEX = ("array", "map", "record", "enum", "fixed")

# What a logical type may annotate; `json` and `ipv4` are our own, others take them as plain data.
_LOGICAL = {
    ("timestamp-millis", "long"),
    ("timestamp-micros", "long"),
    ("date", "int"),
    ("decimal", "bytes"),
    ("decimal", "fixed"),
    ("json", "string"),
    ("ipv4", "fixed"),
}


def parse(schema: Any, known: Mapping[str, Named] | None = None) -> Type:
    """A schema from its JSON value: a dict, a list (union) or a string.

    `known` are named types that it may refer to.

    Raises SchemaError.
    """
    parser = _Parser(dict(known or {}))
    try:
        parsed = parser.type(schema, "", "$")
        parser.check_defaults()
    except RecursionError:
        raise SchemaError("$: nested too deep") from None
    return parsed


def parse_text(text: str | bytes, known: Mapping[str, Named] | None = None) -> Type:
    """A schema from its JSON text.

    Raises SchemaError.
    """
    return parse(load(text), known)


def load(text: str | bytes) -> Any:
    """The JSON value of a schema's text.

    Raises SchemaError.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SchemaError(f"$: not JSON: {error}") from None


def named_types(schema: Type) -> dict[str, Named]:
    """Every named type of a schema by its full name."""
    found: dict[str, Named] = {}
    stack = [schema]
    while stack:
        match stack.pop():
            case Array(items):
                stack.append(items)
            case Map(values):
                stack.append(values)
            case Union(branches):
                stack += branches
            case Record() | Enum() | Fixed() as named if named.name not in found:
                found[named.name] = named
                if isinstance(named, Record):
                    stack += [field.type for field in named.fields]
    return found


class _Parser:
    def __init__(self, known: dict[str, Named]) -> None:
        self._names = known
        self._defaults: list[tuple[Field, str]] = []

    def type(self, schema: Any, namespace: str, path: str) -> Type:
        if isinstance(schema, str):
            return self._reference(schema, namespace, path)
        if isinstance(schema, list):
            return self._union(schema, namespace, path)
        if not isinstance(schema, dict):
            raise SchemaError(f"{path}: a schema is a string, a list or an object")
        kind = schema.get("type")
        if not isinstance(kind, str):
            raise SchemaError(f'{path}: "type" must be a string')
        if kind in PRIMITIVES:
            return Primitive(kind, _logical(schema, kind))
        if kind == "array":
            return Array(self.type(_get(schema, "items", path), namespace, f"{path}[]"))
        if kind == "map":
            return Map(self.type(_get(schema, "values", path), namespace, f"{path}{{}}"))
        if kind in NAMED:
            return self._named(schema, kind, namespace, path)
        return self._reference(kind, namespace, path)

    def check_defaults(self) -> None:
        """Once all names are known: the default of a recursive record's field can be judged."""
        for field, path in self._defaults:
            problem = default_problem(field.default, field.type)
            if problem:
                raise SchemaError(f"{path}: the default {problem}")

    def _reference(self, name: str, namespace: str, path: str) -> Type:
        if name in PRIMITIVES:
            return Primitive(name)
        full = f"{namespace}.{name}" if namespace and "." not in name else name
        if full not in self._names:
            raise SchemaError(f'{path}: there is no type called "{full}"')
        return self._names[full]

    def _union(self, schemas: list[Any], namespace: str, path: str) -> Union:
        branches = [self.type(schema, namespace, path) for schema in schemas]
        if not branches:
            raise SchemaError(f"{path}: a union needs a branch")
        seen = set()
        for branch in branches:
            if isinstance(branch, Union):
                raise SchemaError(f"{path}: a union holds no union")
            key = branch.name if isinstance(branch, Record | Enum | Fixed) else branch.kind
            if key in seen:
                raise SchemaError(f"{path}: a union has {key} twice")
            seen.add(key)
        return Union(branches)

    def _named(self, schema: dict[str, Any], kind: str, namespace: str, path: str) -> Named:
        name, namespace = _full_name(schema, namespace, path)
        if name in self._names:
            raise SchemaError(f'{path}: the type "{name}" is defined twice')
        aliases = _aliases(schema, path, namespace)
        if kind == "fixed":
            size = _get(schema, "size", path)
            if type(size) is not int or size < 0:
                raise SchemaError(f'{path}: "size" must be a number of bytes')
            self._names[name] = Fixed(name, size, aliases, _logical(schema, kind))
        elif kind == "enum":
            self._names[name] = _enum(schema, name, aliases, path)
        else:
            # Its name is known before its fields are: they may refer to it.
            record = self._names[name] = Record(name, aliases=aliases)
            record.fields = self._fields(schema, namespace, path)
        return self._names[name]

    def _fields(self, schema: dict[str, Any], namespace: str, path: str) -> list[Field]:
        fields = []
        for one in _list(schema, "fields", path):
            if not isinstance(one, dict):
                raise SchemaError(f"{path}: a field is an object")
            name = _name(one.get("name"), path)
            where = f"{path}.{name}"
            if one.get("order", "ascending") not in _ORDERS:
                raise SchemaError(f'{where}: "order" must be {", ".join(_ORDERS)}')
            field = Field(
                name,
                self.type(_get(one, "type", where), namespace, where),
                one.get("default", NO_DEFAULT),
                _aliases(one, where),
            )
            if field.default is not NO_DEFAULT:
                self._defaults.append((field, where))
            fields.append(field)
        _require_unique([field.name for field in fields], "field", path)
        return fields


def _enum(schema: dict[str, Any], name: str, aliases: tuple[str, ...], path: str) -> Enum:
    symbols = tuple(_name(symbol, path) for symbol in _list(schema, "symbols", path))
    _require_unique(symbols, "symbol", path)
    default = schema.get("default")
    if default is not None and default not in symbols:
        raise SchemaError(f"{path}: the default {default!r} is not among the symbols")
    return Enum(name, symbols, default, aliases)


def _full_name(schema: dict[str, Any], namespace: str, path: str) -> tuple[str, str]:
    """The full name of a named type, and the namespace that its inner types inherit."""
    name = schema.get("name")
    if isinstance(name, str) and "." in name:
        namespace, _, name = name.rpartition(".")
    else:
        namespace = schema.get("namespace", namespace)
    name = _name(name, path)
    if namespace and not (
        isinstance(namespace, str) and all(map(_NAME.fullmatch, namespace.split(".")))
    ):
        raise SchemaError(f"{path}: {namespace!r} is no namespace")
    if name in PRIMITIVES or name in _COMPLEX:
        raise SchemaError(f'{path}: a type cannot be called "{name}"')
    return (f"{namespace}.{name}" if namespace else name), namespace or ""


def _aliases(schema: dict[str, Any], path: str, namespace: str | None = None) -> tuple[str, ...]:
    """Aliases of a field or, with the namespace that they are relative to, of a type."""
    aliases = schema.get("aliases", [])
    if not isinstance(aliases, list):
        raise SchemaError(f'{path}: "aliases" must be a list')
    for alias in aliases:
        parts = alias.split(".") if namespace is not None and isinstance(alias, str) else [alias]
        for part in parts:
            _name(part, path)
    return tuple(f"{namespace}.{one}" if namespace and "." not in one else one for one in aliases)


def _logical(schema: dict[str, Any], kind: str) -> Logical | None:
    """The logical type; None where there is none that we know: it is then ignored, as it must."""
    name = schema.get("logicalType")
    if not isinstance(name, str) or (name, kind) not in _LOGICAL:
        return None
    if name == "ipv4":
        return Logical(name) if schema.get("size") == 4 else None
    if name != "decimal":
        return Logical(name)
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if not (type(precision) is int and type(scale) is int and 0 <= scale <= precision):
        return None
    return Logical(name, precision, scale) if precision else None


def _get(schema: dict[str, Any], key: str, path: str) -> Any:
    if key not in schema:
        raise SchemaError(f'{path}: "{key}" is missing')
    return schema[key]


def _list(schema: dict[str, Any], key: str, path: str) -> list[Any]:
    value = _get(schema, key, path)
    if not isinstance(value, list):
        raise SchemaError(f'{path}: "{key}" must be a list')
    return value


def _name(name: Any, path: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SchemaError(f"{path}: {name!r} is no name: letters, digits and _, no digit first")
    return name


def _require_unique(names: Sequence[str], what: str, path: str) -> None:
    for at, name in enumerate(names):
        if name in names[:at]:
            raise SchemaError(f'{path}: the {what} "{name}" comes twice')
