"""The settings of a plugin as data, for its sample, its documentation and the JSON Schema."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from streamd.api import ConfigFile, Duration, Secret, Size
from streamd.settings import structs
from streamd.settings.toml import value_text

_NAMES: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    Duration: "duration",
    Size: "size",
    Secret: "secret",
    ConfigFile: "file",
    Any: "any value",
}
_PLACEHOLDERS: dict[Any, Any] = {
    str: "...",
    int: 1,
    float: 1.0,
    bool: False,
    Duration: "1s",
    Size: "1MiB",
    Secret: "@{env:NAME}",
    ConfigFile: "...",
    Any: "...",
}


class Setting(Struct, frozen=True):
    """One setting: its key, type annotation, description, and `default` (None: not set)."""

    key: str
    kind: Any
    description: str
    examples: tuple[Any, ...]
    required: bool
    default: Any

    @property
    def default_text(self) -> str:
        """The default as TOML; empty if there is none."""
        return "" if self.default is None else value_text(self.default, masked=False)

    @property
    def example_text(self) -> str:
        """A value to show: the example given, else the default, else one of the right type."""
        if self.examples:
            return value_text(self.examples[0])
        return self.default_text or value_text(_placeholder(self.kind))


def settings_of(config: type[Struct]) -> list[Setting]:
    """The settings that a Struct declares, in its order."""
    return [_setting(field) for field in structs.fields(config)]


def _setting(field: msgspec.structs.FieldInfo) -> Setting:
    metas = metas_of(field.type)
    default = field.default
    if field.default_factory is not NODEFAULT:
        default = field.default_factory()
    return Setting(
        key=field.encode_name,
        kind=field.type,
        description=next((meta.description for meta in metas if meta.description), ""),
        examples=tuple(example for meta in metas for example in meta.examples or ()),
        required=default is NODEFAULT,
        default=None if default is NODEFAULT else default,
    )


def metas_of(kind: Any) -> list[Meta]:
    """The msgspec annotations of a type."""
    if typing.get_origin(kind) is not Annotated:
        return []
    return [meta for meta in typing.get_args(kind)[1:] if isinstance(meta, Meta)]


def bare(kind: Any) -> Any:
    """A type without its annotations."""
    while typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    return kind


def members_of(kind: Any) -> list[Any]:
    """The types of a union but None; of any other type itself."""
    kind = bare(kind)
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return [kind]
    return [one for one in typing.get_args(kind) if one is not type(None)]


def item_of(kind: Any) -> tuple[Literal["table", "list", ""], Any]:
    """Whether a type is a table by name or a list, and the type of what is in it."""
    origin = typing.get_origin(kind) or kind
    arguments = typing.get_args(kind)
    if not isinstance(origin, type) or issubclass(origin, str | Struct):
        return "", None
    if issubclass(origin, Mapping):
        return "table", arguments[1] if arguments else Any
    if issubclass(origin, Collection):
        return "list", arguments[0] if arguments else Any
    return "", None


def is_struct(kind: Any) -> bool:
    """Whether a type is a table of settings."""
    return isinstance(kind, type) and issubclass(kind, Struct)


def type_text(kind: Any) -> str:
    """A type in the words of a TOML author: `list of strings`, `"a" or "b"`."""
    return " or ".join(dict.fromkeys(_member_text(bare(one)) for one in members_of(kind)))


def _member_text(kind: Any) -> str:
    if kind in _NAMES:
        return _NAMES[kind]
    if typing.get_origin(kind) is Literal:
        return " or ".join(json.dumps(choice) for choice in typing.get_args(kind))
    shape, item = item_of(kind)
    if not shape:
        return "table" if is_struct(kind) else getattr(kind, "__name__", str(kind))
    inner = type_text(item)
    return f"{shape} of {inner}" if " " in inner else f"{shape} of {inner}s"


def _placeholder(kind: Any) -> Any:
    kind = bare(members_of(kind)[0])
    if kind in _PLACEHOLDERS:
        return _PLACEHOLDERS[kind]
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)[0]
    if is_struct(kind):
        return {
            setting.key: setting.examples[0] if setting.examples else _placeholder(setting.kind)
            for setting in settings_of(kind)
            if setting.required
        }
    return {} if item_of(kind)[0] == "table" else []
