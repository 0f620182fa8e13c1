"""Changing events without touching the ones that came in.

A transform copies an event once along the fields that it writes (`copied`), and then works on
that copy in place; everything beside the way is shared with the original. Which objects lie on
the way is known from the settings: a tree of their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from streamd_expressions import MISSING
from streamd_expressions.values import struct_names, type_name
from streamd_transforms.base import Names, Unfit

Tree = dict[str, Any]
"""Names of the objects on the way to what is written, each with the tree below it."""


def tree_of(paths: Iterable[Names]) -> Tree:
    """The tree of everything above these fields; the fields themselves are not in it."""
    tree: Tree = {}
    for path in paths:
        node = tree
        for name in path[:-1]:
            node = node.setdefault(name, {})
    return tree


def below(tree: Tree, path: Names) -> Tree | None:
    """The part of a tree below a field, None where nothing is written below it."""
    node: Tree | None = tree
    for name in path:
        node = None if node is None else node.get(name)
    return node


def copied(value: Any, tree: Tree) -> Any:
    """A copy of an object, and of those in it that are on the tree; Structs become dicts.

    What is no object is returned as it is.
    """
    if type(value) is dict:
        value = value.copy()
    elif isinstance(value, dict):
        value = dict(value)
    elif isinstance(value, msgspec.Struct):
        value = _as_dict(value)
    else:
        return value
    for name, part in tree.items():
        child = value.get(name)
        if child is not None:
            value[name] = copied(child, part)
    return value


def put(event: Any, path: Names, value: Any) -> None:
    """Set a field of a working copy. Objects on the way are made where missing or null.

    Raises Unfit if something on the way is no object.
    """
    if not isinstance(event, dict):
        raise _no_object((), event)
    node = event
    for depth, name in enumerate(path[:-1], start=1):
        child = node.get(name)
        if child is None:
            child = node[name] = {}
        elif not isinstance(child, dict):
            raise _no_object(path[:depth], child)
        node = child
    node[path[-1]] = value


def peek(event: Any, path: Names) -> Any:
    """A field of a working copy, or MISSING."""
    node = event
    for name in path:
        if not isinstance(node, dict):
            return MISSING
        node = node.get(name, MISSING)
    return node


def take_out(event: Any, path: Names) -> Any:
    """Remove a field of a working copy: its value, or MISSING."""
    node = peek(event, path[:-1])
    return node.pop(path[-1], MISSING) if isinstance(node, dict) else MISSING


def projected(value: dict[str, Any], wanted: Tree) -> dict[str, Any]:
    """Only the wanted fields of an object of a working copy; the very object if it is no more.

    `wanted` has a tree for an object of which only a part is wanted, None for a whole field.
    """
    kept: dict[str, Any] = {}
    for name, part in wanted.items():
        if name not in value:
            continue
        child = value[name]
        if part is None:
            kept[name] = child
        elif isinstance(child, dict) and (some := projected(child, part)):
            kept[name] = some
    same = len(kept) == len(value) and all(kept[name] is value[name] for name in kept)
    return value if same else kept


def wanted_of(paths: Iterable[Names]) -> Tree:
    """The tree that `projected` takes. A field given whole and in part is wanted whole."""
    wanted: Tree = {}
    for path in sorted(paths, key=len):
        node: Tree | None = wanted
        for name in path[:-1]:
            node = node.setdefault(name, {}) if node is not None else None
        if node is not None:
            node[path[-1]] = None
    return wanted


def dotted(path: Names) -> str:
    """A path for a message."""
    return ".".join(path) or "$"


def _no_object(path: Names, value: Any) -> Unfit:
    return Unfit("not_an_object", f"expected an object at {dotted(path)}, got {type_name(value)}")


def _as_dict(struct: msgspec.Struct) -> dict[str, Any]:
    """As it is on the wire; what is nested stays as it is."""
    cls = type(struct)
    fields: dict[str, Any] = {
        name: value
        for name, attribute in struct_names(cls).items()
        if (value := getattr(struct, attribute)) is not msgspec.UNSET
    }
    config = cls.__struct_config__
    return fields if config.tag_field is None else {config.tag_field: config.tag, **fields}
