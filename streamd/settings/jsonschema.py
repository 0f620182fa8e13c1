"""The JSON Schema of the configuration file, for editors: what a catalog's plugins accept."""

from __future__ import annotations

import json
import typing
from typing import Any, Literal

from msgspec import Meta, Struct

from streamd.api import ConfigFile, Duration, Secret, Size
from streamd.catalog import Catalog, Entry, config_of
from streamd.settings.fields import (
    Setting,
    bare,
    is_struct,
    item_of,
    members_of,
    metas_of,
    settings_of,
)
from streamd.settings.keys import STAGE_ROLES, StageKeys, keys_of
from streamd.settings.model import DaemonOptions, PipelineOptions
from streamd.settings.toml import plain

_SCALARS: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
}
_STRINGS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    Secret: {"type": "string"},
    ConfigFile: {"type": "string"},
    Duration: {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$"},
    Size: {"type": "string", "pattern": r"^\d+(\.\d+)?\s*([KMGT]i?B|B)$"},
}
_REFERENCE = {"type": "string", "pattern": r"^[$@]\{.+\}$"}
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
}


def document(catalog: Catalog) -> dict[str, Any]:
    """The schema of a whole file that may name every plugin of the catalog."""
    roles = (*STAGE_ROLES, "codec", "policy")
    tables = {role: {"type": "array", "items": {"$ref": f"#/$defs/{role}"}} for role in roles}
    pipeline = _table(PipelineOptions)
    pipeline["properties"] |= {role: tables[role] for role in roles if role != "codec"}
    pipeline["properties"]["source"] = {"anyOf": [{"$ref": "#/$defs/source"}, tables["source"]]}
    pipeline["required"] = ["source", "sink"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "streamd.toml",
        "type": "object",
        "properties": {
            "streamd": _table(DaemonOptions),
            "pipeline": {"type": "object", "minProperties": 1, "additionalProperties": pipeline},
            "test": {"type": "array"},
        },
        "required": ["pipeline"],
        "additionalProperties": False,
        "$defs": {role: _plugins(catalog, role) for role in roles},
    }


def text(catalog: Catalog) -> str:
    """The schema as JSON, the same for the same catalog."""
    return (
        json.dumps(document(catalog), indent=1, sort_keys=True, ensure_ascii=False, default=str)
        + "\n"
    )


def _plugins(catalog: Catalog, role: str) -> dict[str, Any]:
    """A table whose keys depend on its `plugin`."""
    entries = catalog.entries(role)
    return {
        "type": "object",
        "properties": {"plugin": {"enum": [entry.plugin.name for entry in entries]}},
        "required": ["plugin"],
        "allOf": [
            {
                "if": {"properties": {"plugin": {"const": entry.plugin.name}}},
                "then": _plugin(role, entry),
            }
            for entry in entries
        ],
    }


def _plugin(role: str, entry: Entry) -> dict[str, Any]:
    engine = {setting.key: setting for setting in settings_of(StageKeys)}
    schema = _table(config_of(entry.plugin))
    schema["description"] = entry.summary
    schema["properties"] |= {key: _engine_key(key, engine[key]) for key in keys_of(role)}
    schema["properties"]["plugin"] = {"const": entry.plugin.name}
    if role in ("window", "sink"):
        schema["required"] = ["id", *schema["required"]]
    return schema


def _engine_key(key: str, setting: Setting) -> dict[str, Any]:
    if key == "policy":
        return {"type": "array", "items": {"$ref": "#/$defs/policy"}}
    if key == "codec":
        return {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/codec"}]}
    return _setting(setting)


def _table(struct: type[Struct]) -> dict[str, Any]:
    settings = settings_of(struct)
    config = struct.__struct_config__
    tag = {} if config.tag is None else {str(config.tag_field): {"const": config.tag}}
    return {
        "type": "object",
        "properties": {**tag, **{setting.key: _setting(setting) for setting in settings}},
        "required": [*tag, *(setting.key for setting in settings if setting.required)],
        "additionalProperties": not config.forbid_unknown_fields,
    }


def _setting(setting: Setting) -> dict[str, Any]:
    schema = {**_type(setting.kind), "description": setting.description}
    if setting.default is not None:
        schema["default"] = plain(setting.default, masked=False)
    return schema


def _type(kind: Any) -> dict[str, Any]:
    choices = [_member(one, metas_of(kind)) for one in members_of(kind)]
    if not all(choices):
        return {}
    if any(
        choice.get("type") in ("boolean", "integer", "number")
        or choice.keys() & {"enum", "pattern"}
        for choice in choices
    ):
        choices.append(_REFERENCE)
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


def _member(kind: Any, metas: list[Meta]) -> dict[str, Any]:
    metas = [*metas, *metas_of(kind)]
    kind = bare(kind)
    if typing.get_origin(kind) is Literal:
        return {"enum": list(typing.get_args(kind))}
    if kind in _SCALARS or kind in _STRINGS:
        return (_SCALARS.get(kind) or _STRINGS[kind]) | _bounds(metas, "Length")
    if is_struct(kind):
        return _table(kind)
    shape, item = item_of(kind)
    if shape == "table":
        return {"type": "object", "additionalProperties": _type(item)}
    if shape == "list":
        return {"type": "array", "items": _type(item)} | _bounds(metas, "Items")
    return {}


def _bounds(metas: list[Meta], lengths: str) -> dict[str, Any]:
    names = {**_BOUNDS, "min_length": f"min{lengths}", "max_length": f"max{lengths}"}
    return {
        schema_name: getattr(meta, name)
        for meta in metas
        for name, schema_name in names.items()
        if getattr(meta, name) is not None
    }
