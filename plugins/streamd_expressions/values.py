"""Reading fields of events: plain dicts, msgspec Structs, lists, in any mixture."""

from __future__ import annotations

import typing
from enum import Enum
from typing import Any, Final

import msgspec


class Missing(Enum):
    """The type of `MISSING`; an enum so that type checkers can narrow on it."""

    MISSING = "missing"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING
"""What a path getter returns for a field that the event does not have (null is None)."""

# Struct class -> ({name on the wire: attribute}, fields that plain attribute access may read).
# Classes are few and live as long as the plan that made them; the bound is for a daemon that
# reloads for months.
_SHAPES: dict[type, tuple[dict[str, str], frozenset[str]]] = {}
_SHAPES_BOUND: Final = 1024

LISTS: Final = (list, tuple)
"""What counts as a list; a tuple, as isinstance with `|` would make a union on every call."""

_TYPE_NAMES: Final[dict[type, str]] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "string",
    bytes: "bytes",
    list: "list",
    tuple: "list",
    dict: "object",
}


def type_name(value: Any) -> str:
    """The language's name for a value's type.

    Args:
        value: anything an event may hold.

    Returns:
        null, bool, int, float, string, bytes, list, object, or for other typed values the
        class name in lower case ("datetime").
    """
    name = _TYPE_NAMES.get(type(value))
    if name is not None:
        return name
    if isinstance(value, msgspec.Struct):
        return "object"
    for base, name in _TYPE_NAMES.items():
        if isinstance(value, base):
            return name
    return type(value).__name__.lower()


def struct_names(cls: type[msgspec.Struct]) -> dict[str, str]:
    """A Struct class's field names as they are on the wire, each with its attribute.

    Args:
        cls: the class.

    Returns:
        A shared mapping; do not change it.
    """
    return _shape(cls)[0]


def _shape(cls: type[msgspec.Struct]) -> tuple[dict[str, str], frozenset[str]]:
    shape = _SHAPES.get(cls)
    if shape is None:
        if len(_SHAPES) >= _SHAPES_BOUND:
            _SHAPES.clear()
        names = dict(zip(cls.__struct_encode_fields__, cls.__struct_fields__, strict=True))
        same = frozenset(name for name, attribute in names.items() if name == attribute)
        shape = _SHAPES[cls] = names, same & _never_unset(cls)
    return shape


def find_field(obj: Any, name: str, known: set[type]) -> Any:
    """A field of a value, or MISSING.

    Only fields are found: methods, properties and attributes of Python objects are not.

    Args:
        obj: any value.
        name: the field's name on the wire.
        known: Struct classes on which plain attribute access gives this very field; generated
            code tests it first, and a class that qualifies is added here.

    Returns:
        The value, or MISSING when there is no such field, it is UNSET, or `obj` has no fields.
    """
    if isinstance(obj, dict):
        return obj.get(name, MISSING)
    if not isinstance(obj, msgspec.Struct):
        return MISSING
    cls = type(obj)
    names, plain = _shape(cls)
    attribute = names.get(name)
    if attribute is None:
        config = cls.__struct_config__
        return config.tag if name == config.tag_field else MISSING
    value = getattr(obj, attribute)
    if value is msgspec.UNSET:
        return MISSING
    if name in plain:
        known.add(cls)
    return value


def get_field(obj: Any, name: str, known: set[type]) -> Any:
    """Like `find_field`, but null (None) for what is missing."""
    value = find_field(obj, name, known)
    return None if value is MISSING else value


def find_item(obj: Any, index: int) -> Any:
    """An item of a list, or MISSING.

    Args:
        obj: any value.
        index: from 0; negative counts from the end.

    Returns:
        The item, or MISSING when the list is shorter or `obj` is no list.
    """
    if isinstance(obj, LISTS) and -len(obj) <= index < len(obj):
        return obj[index]
    return MISSING


def get_item(obj: Any, index: int) -> Any:
    """Like `find_item`, but null (None) for what is missing."""
    value = find_item(obj, index)
    return None if value is MISSING else value


def _never_unset(cls: type[msgspec.Struct]) -> frozenset[str]:
    """The attributes whose types leave out UNSET, so that reading them needs no check."""
    try:
        fields = msgspec.structs.fields(cls)
    except (NameError, TypeError):  # an annotation that cannot be resolved: stay careful
        return frozenset()
    return frozenset(f.name for f in fields if not _mentions_unset(f.type))


def _mentions_unset(annotation: Any) -> bool:
    return annotation is msgspec.UnsetType or any(
        _mentions_unset(part) for part in typing.get_args(annotation)
    )
