"""Values as TOML text: for the effective configuration, samples and documentation."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

from msgspec import Struct

from streamd.api import Duration, Secret, Size
from streamd.settings import structs

MASK = "***"
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+(?=@)")


def value_text(value: Any, *, masked: bool = True) -> str:
    """One value as inline TOML. `masked` hides secrets and passwords within URLs."""
    return _inline(plain(value, masked=masked))


def plain(value: Any, *, masked: bool = True) -> Any:
    """A setting as the strings, numbers, lists and dicts that a file would hold for it."""
    if isinstance(value, Struct):
        value = fields_of(value)
    elif isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, Duration | Size):
        return value.text
    if isinstance(value, str):
        return _mask(value) if masked else str.__str__(value)
    if isinstance(value, Mapping):
        return {
            str(key): plain(item, masked=masked) for key, item in value.items() if item is not None
        }
    if isinstance(value, Set):
        value = sorted(value)
    if isinstance(value, Sequence):
        return [plain(item, masked=masked) for item in value]
    return value


def _inline(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        pairs = [f"{key_text(key)} = {_inline(item)}" for key, item in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    return str(value)


def fields_of(struct: Struct) -> dict[str, Any]:
    """The settings of a Struct by their key in the file, its tag included, without unset ones."""
    config = struct.__struct_config__
    tag = {} if config.tag is None else {str(config.tag_field): config.tag}
    values = {
        field.encode_name: getattr(struct, field.name) for field in structs.fields(type(struct))
    }
    return tag | {key: value for key, value in values.items() if value is not None}


def size_text(size: int) -> str:
    """A number of bytes with the largest unit that divides it: `16MiB`."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return f"{size}B"


def duration_text(seconds: float) -> str:
    """A time to the millisecond: `250ms`, `2s`."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def key_text(key: str) -> str:
    """A key, quoted where it has to be."""
    return key if _BARE.fullmatch(key) else _string(key)


def _mask(text: str) -> str:
    if isinstance(text, Secret):
        return MASK if text else ""
    return _PASSWORD_IN_URL.sub(rf"\1:{MASK}", text)


def _string(text: str) -> str:
    """JSON's escapes are TOML's, but for DEL; what looks like a reference is escaped."""
    plain = str.__str__(text).replace("${", "$${")
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")
