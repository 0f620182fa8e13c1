"""From parsed TOML to typed settings, collecting every error.

msgspec stops at its first error. So a value is converted whole, and only when that fails is it
taken apart along its type to find all that is wrong with it.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import NODEFAULT, Struct

from streamd.api import ConfigFile, Duration, Secret, Size
from streamd.settings import structs
from streamd.settings.fields import bare, members_of
from streamd.settings.lines import Path
from streamd.settings.problems import Problems, nearest
from streamd.settings.references import UNRESOLVED, Substituted

_EXPECTED = re.compile(r"Expected `([^`]*)`(.*?)(, got `[^`]*`)?", re.DOTALL)
_WORDS = {"array": "list", "object": "table", "float": "number", "str": "string"}


class _Failed:
    """The result of a conversion that has reported errors."""


FAILED = _Failed()


class _Part(NamedTuple):
    key: str | int
    value: Any
    kind: Any


def convert(
    value: Any, kind: Any, path: Path, problems: Problems, also: Collection[str] = ()
) -> Any:
    """`value` as the type `kind`, or FAILED after noting every error in `problems`.

    `also` names keys that the table may have beside those of `kind`, for the nearest name.
    """
    value = _soften(value, kind, problems.folder)
    if not _has_unresolved(value):
        try:
            return msgspec.convert(value, kind, dec_hook=_custom)
        except msgspec.ValidationError as error:
            if not _dig(value, kind, path, problems, also):
                problems.add(path, _explain(str(error), value, kind))
    else:
        _dig(value, kind, path, problems, also)
    return FAILED


def _custom(kind: type, value: Any) -> Any:
    if issubclass(kind, Duration | Size):
        return kind(value)
    if issubclass(kind, Secret | ConfigFile):
        if not isinstance(value, str):
            raise ValueError(f"expected string, got {_shown(value)}")
        return value if isinstance(value, kind) else kind(value)
    raise ValueError(f"the plugin is at fault: a setting cannot be a {kind.__name__}")


def _soften(value: Any, kind: Any, folder: FilePath) -> Any:
    """Give each value that was a substitution the type that is expected in its place, and each
    file of the configuration a name that can be opened: a relative one starts at `folder`."""
    if isinstance(value, str) and value and ConfigFile in map(bare, members_of(kind)):
        return str(folder / value)
    if isinstance(value, Substituted):
        return _lenient(str(value), kind)
    parts = list(_parts(value, kind))
    if isinstance(value, dict):
        return value | {part.key: _soften(part.value, part.kind, folder) for part in parts}
    if isinstance(value, list) and parts:
        return [_soften(part.value, part.kind, folder) for part in parts]
    return value


def _lenient(text: str, kind: Any) -> Any:
    """The text itself where the type takes it, else what it stands for."""
    if _fits(text, kind):
        return text
    if not text and _fits(None, kind):
        return None  # ${VAR:-} leaves an optional setting unset
    try:
        return msgspec.convert(text, kind, strict=False, dec_hook=_custom)
    except msgspec.ValidationError:
        return text


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, dec_hook=_custom)
    except msgspec.ValidationError:
        return False
    return True


def _dig(value: Any, kind: Any, path: Path, problems: Problems, also: Collection[str] = ()) -> bool:
    """Note every error within a value; returns whether there was one."""
    if value is UNRESOLVED:
        return True
    found = False
    if (struct := _struct_of(kind, value)) is not None:
        found = _check_keys(value, struct, path, problems, also)
    for part in _parts(value, kind):
        found |= _dig(part.value, part.kind, (*path, part.key), problems)
    if not found:
        try:
            msgspec.convert(value, kind, dec_hook=_custom)
        except msgspec.ValidationError as error:
            problems.add(path, _explain(str(error), value, kind))
            found = True
    return found


def _check_keys(
    table: dict[str, Any],
    struct: type[Struct],
    path: Path,
    problems: Problems,
    also: Collection[str],
) -> bool:
    fields = {field.encode_name: field for field in structs.fields(struct)}
    tag = struct.__struct_config__.tag_field
    unknown = table.keys() - fields.keys() - {tag}
    if not struct.__struct_config__.forbid_unknown_fields:
        unknown = set()
    missing = [
        name
        for name, field in fields.items()
        if field.default is NODEFAULT and field.default_factory is NODEFAULT and name not in table
    ]
    for name in sorted(unknown):
        problems.add((*path, name), f"unknown key{nearest(name, [*fields, *also])}")
    for name in missing:
        problems.add((*path, name), "required, but not given")
    return bool(unknown or missing)


def _parts(value: Any, kind: Any) -> Iterator[_Part]:
    """The children of a value with the type that each should have."""
    kind, origin, arguments = _take_apart(kind, value)
    if isinstance(value, dict):
        if (struct := _struct_of(kind, value)) is not None:
            types_of = {field.encode_name: field.type for field in structs.fields(struct)}
            yield from (_Part(key, value[key], types_of[key]) for key in value if key in types_of)
        elif len(arguments) == 2 and _is(origin, Mapping):
            yield from (_Part(key, item, arguments[1]) for key, item in value.items())
    elif isinstance(value, list) and arguments:
        if origin is tuple and arguments[-1] is not Ellipsis:
            pairs = zip(value, arguments, strict=False)
            if len(value) == len(arguments):
                yield from (_Part(at, item, of) for at, (item, of) in enumerate(pairs))
        elif _is(origin, Collection):
            yield from (_Part(at, item, arguments[0]) for at, item in enumerate(value))


def _take_apart(kind: Any, value: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    """A type without its Annotated, and of a union the only member that fits the shape."""
    kind = bare(kind)
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        fitting = [one for one in typing.get_args(kind) if _fits_shape(one, value)]
        if len(fitting) != 1:
            return None, None, ()
        return _take_apart(fitting[0], value)
    return kind, origin, typing.get_args(kind)


def _fits_shape(kind: Any, value: Any) -> bool:
    kind = bare(kind)
    cls = typing.get_origin(kind) or kind
    if isinstance(value, dict):
        if _is(cls, Struct):
            config = cls.__struct_config__
            return config.tag is None or value.get(config.tag_field) == config.tag
        return _is(cls, Mapping)
    return isinstance(value, list) and _is(cls, Collection) and not _is(cls, Mapping | str | bytes)


def _struct_of(kind: Any, value: Any) -> type[Struct] | None:
    kind = _take_apart(kind, value)[0]
    return kind if isinstance(value, dict) and _is(kind, Struct) else None


def _is(kind: Any, base: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def _has_unresolved(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_unresolved, value.values()))
    if isinstance(value, list):
        return any(map(_has_unresolved, value))
    return value is UNRESOLVED


def _explain(message: str, value: Any, kind: Any) -> str:
    """msgspec's message in the words of a TOML author, with the value."""
    message = message.rpartition(" - at `")[0] or message
    if message.startswith("Invalid enum value") and (choices := _choices(kind)):
        near = nearest(value, choices) if isinstance(value, str) else ""
        return f"expected {' or '.join(map(_shown, choices))}, got {_shown(value)}" + (
            near if near.endswith("?") else ""
        )
    match = _EXPECTED.fullmatch(message)
    if match is None:
        return message
    kinds = [_WORDS.get(kind, kind) for kind in match[1].split(" | ") if kind != "null"]
    return f"expected {' or '.join(kinds)}{match[2]}, got {_shown(value)}"


def _choices(kind: Any) -> list[Any]:
    """The values that a Literal allows, also where it is a member of a union."""
    if typing.get_origin(kind) is Literal:
        return list(typing.get_args(kind))
    members = typing.get_args(kind)
    if typing.get_origin(kind) is Annotated:
        members = members[:1]
    return [choice for member in members for choice in _choices(member)]


def _shown(value: Any) -> str:
    if isinstance(value, Secret):
        return "a secret"
    if isinstance(value, str | bool | int | float):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 80 else f"{text[:77]}..."
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, Sequence) else str(value)
