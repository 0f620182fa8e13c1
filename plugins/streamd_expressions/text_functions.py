"""Functions on strings, lists and objects. Each raises EvaluationError for what does not fit."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import re
import uuid
from enum import Enum
from typing import Any, Final

import msgspec

from .errors import EvaluationError
from .limits import MAX_ITEMS, MAX_STRING, MAX_SUBJECT
from .operators import check_size, member
from .values import LISTS, get_item, struct_names, type_name

_SIZED: Final = (str, list, tuple, dict, bytes)
_PRINTABLE: Final = (str, int, float, decimal.Decimal, uuid.UUID)
_TIMES: Final = (datetime.date, datetime.time)  # datetime is a date


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise EvaluationError(f"{name}() needs a string, got {type_name(value)}")


def type_of(value: Any) -> str:
    """The language's name of a value's type; see `type_name`."""
    return type_name(value)


def length(value: Any) -> int:
    """Characters of a string, bytes, items of a list, keys of an object."""
    if isinstance(value, _SIZED):
        return len(value)
    if isinstance(value, msgspec.Struct):
        return len(keys(value))
    raise EvaluationError(f"len() needs a string, list or object, got {type_name(value)}")


def lower(value: Any) -> str:
    """The string in lower case."""
    return _text("lower", value).lower()


def upper(value: Any) -> str:
    """The string in upper case."""
    return _text("upper", value).upper()


def trim(value: Any) -> str:
    """The string without white space at either end."""
    return _text("trim", value).strip()


def contains(container: Any, item: Any) -> bool:
    """`item in container`."""
    return member(item, container)


def startswith(value: Any, start: Any) -> bool:
    """Whether the string starts with `start`; false for null."""
    return value is not None and _text("startswith", value).startswith(_text("startswith", start))


def endswith(value: Any, end: Any) -> bool:
    """Whether the string ends with `end`; false for null."""
    return value is not None and _text("endswith", value).endswith(_text("endswith", end))


def search(value: Any, pattern: re.Pattern[str]) -> bool:
    """Whether a compiled pattern occurs in the string; false for null.

    Args:
        value: at most MAX_SUBJECT characters: Python's engine backtracks, so its worst case
            grows faster than the text does.
        pattern: from `compile_pattern`.
    """
    if value is None:
        return False
    text = _text("matches", value)
    if len(text) > MAX_SUBJECT:
        raise EvaluationError(
            f"matches() takes at most {MAX_SUBJECT} characters, got {len(text)}; use substr() first"
        )
    return pattern.search(text) is not None


def replace(value: Any, old: Any, new: Any) -> str:
    """The string with every `old` made `new`; `old` is not empty."""
    text, old, new = _text("replace", value), _text("replace", old), _text("replace", new)
    if not old:
        raise EvaluationError("replace() cannot replace an empty string")
    grows = len(new) - len(old)
    if grows > 0:
        check_size(len(text) + grows * text.count(old), MAX_STRING, "characters")
    return text.replace(old, new)


def split(value: Any, separator: Any) -> list[str]:
    """The parts between the separators; the separator is not empty."""
    text, separator = _text("split", value), _text("split", separator)
    if not separator:
        raise EvaluationError("split() needs a separator that is not empty")
    check_size(text.count(separator) + 1, MAX_ITEMS, "items")
    return text.split(separator)


def join(items: Any, separator: Any) -> str:
    """The items, each as `str()` makes it, with the separator between them."""
    if not isinstance(items, LISTS):
        raise EvaluationError(f"join() needs a list, got {type_name(items)}")
    glue = _text("join", separator)
    parts: list[str] = []
    size = len(glue) * max(len(items) - 1, 0)
    for item in items:
        parts.append(to_text(item))
        size += len(parts[-1])
        check_size(size, MAX_STRING, "characters")
    return glue.join(parts)


def concat(*values: Any) -> str:
    """The values, each as `str()` makes it, one after the other."""
    return join(values, "")


def substr(value: Any, start: Any, count: Any = None) -> str:
    """Part of a string.

    Args:
        value: the string.
        start: first character, from 0; negative counts from the end.
        count: how many characters, 0 or more; to the end if left out.
    """
    text = _text("substr", value)
    if type(start) is not int or type(count) not in (int, type(None)):
        raise EvaluationError("substr() needs integers for start and length")
    begin = max(0, start + len(text)) if start < 0 else start
    if count is None:
        return text[begin:]
    if count < 0:
        raise EvaluationError("substr() needs a length of 0 or more")
    return text[begin : begin + count]


def to_text(value: Any) -> str:
    """A scalar as text: true, 12, 1.5, RFC 3339 for dates; not null, lists or objects."""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if isinstance(value, Enum):
        return to_text(value.value)
    if isinstance(value, _PRINTABLE):
        try:
            return str(value)
        except ValueError:  # Python's own bound on the digits of an integer
            raise EvaluationError("str() of an integer of too many digits") from None
    if isinstance(value, _TIMES):
        return value.isoformat()
    raise EvaluationError(f"cannot make a string of {type_name(value)}")


def _digest_input(name: str, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return _text(name, value).encode()
    except UnicodeEncodeError:
        raise EvaluationError(f"{name}() needs text that has a UTF-8 form") from None


def sha256(value: Any) -> str:
    """SHA-256 of a string's UTF-8 or of bytes, 64 hex digits."""
    return hashlib.sha256(_digest_input("sha256", value)).hexdigest()


def md5(value: Any) -> str:
    """MD5 of a string's UTF-8 or of bytes, 32 hex digits; for partitioning, not for security."""
    return hashlib.md5(_digest_input("md5", value), usedforsecurity=False).hexdigest()


def keys(value: Any) -> list[str]:
    """The field names of an object, in order, as they are on the wire; UNSET ones left out."""
    if isinstance(value, dict):
        return list(value)
    if isinstance(value, msgspec.Struct):
        names = struct_names(type(value)).items()
        return [name for name, attr in names if getattr(value, attr) is not msgspec.UNSET]
    raise EvaluationError(f"keys() needs an object, got {type_name(value)}")


def first(value: Any) -> Any:
    """The first item of a list; null for an empty list and for null."""
    return _end("first", value, 0)


def last(value: Any) -> Any:
    """The last item of a list; null for an empty list and for null."""
    return _end("last", value, -1)


def _end(name: str, value: Any, index: int) -> Any:
    if value is not None and not isinstance(value, LISTS):
        raise EvaluationError(f"{name}() needs a list, got {type_name(value)}")
    return get_item(value, index)
