"""Values as TOML text: for the effective configuration, samples and documentation."""

from __future__ import annotations

import datetime
import enum
import json
import re
from collections.abc import Mapping, Set
from typing import Any

import msgspec
from msgspec import Struct

from streamd.api import Duration, Secret, Size

MASK = "***"
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+(?=@)")


def value_text(value: Any, *, masked: bool = True) -> str:
    """One value as inline TOML. `masked` hides secrets and passwords within URLs."""
    if isinstance(value, Struct):
        value = fields_of(value)
    elif isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        return _string(_mask(value) if masked else value)
    if isinstance(value, Duration | Size):
        return _string(value.text)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | datetime.date | datetime.time):
        return str(value)
    if isinstance(value, Mapping):
        pairs = [
            f"{key_text(key)} = {value_text(item, masked=masked)}"
            for key, item in value.items()
            if item is not None
        ]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, Set):
        value = sorted(value)
    return f"[{', '.join(value_text(item, masked=masked) for item in value)}]"


def fields_of(struct: Struct) -> dict[str, Any]:
    """The settings of a Struct by their key in the file, its tag included, without unset ones."""
    config = struct.__struct_config__
    tag = {} if config.tag is None else {str(config.tag_field): config.tag}
    values = {
        field.encode_name: getattr(struct, field.name)
        for field in msgspec.structs.fields(type(struct))
    }
    return tag | {key: value for key, value in values.items() if value is not None}


def key_text(key: str) -> str:
    """A key, quoted where it has to be."""
    return key if _BARE.fullmatch(key) else _string(key)


def _mask(text: str) -> str:
    if isinstance(text, Secret):
        return MASK
    return _PASSWORD_IN_URL.sub(rf"\1:{MASK}", text)


def _string(text: str) -> str:
    """JSON's escapes are TOML's, but for DEL; what looks like a reference is escaped."""
    plain = str.__str__(text).replace("${", "$${")
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")
