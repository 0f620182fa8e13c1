"""Every way in which a value differs from a msgspec type, where msgspec itself names the first.

A type is compiled once into a tree of walkers; only values that failed are walked.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, UnsetType

from streamd_events.checks import Check


class Problem(NamedTuple):
    """`reason` is one of a small set of labels, `path` is like `$.payload.tags[3]`."""

    reason: str
    path: str
    message: str


class Walker(Protocol):
    """Finds the problems of values of one type, in the order of the type's fields."""

    def walk(self, value: Any, path: str, found: list[Problem]) -> None:
        """Add what is wrong with the value to `found`; may stop at MAX_PROBLEMS."""
        ...


MAX_PROBLEMS = 101
"""Where walking stops: a list may hold a million bad items."""

_NAME_CHARACTERS = 200
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOCATION = re.compile(r" - at (?:`key` in )?`\$\.value(.*)`$", re.DOTALL)
_REASONS = [
    (re.compile("Object missing required field"), "missing_field"),
    (re.compile("Object contains unknown field"), "unknown_field"),
    (re.compile("Invalid enum value"), "not_allowed"),
    (re.compile("matching regex|timezone component|^Invalid "), "invalid_format"),
    (re.compile(" of length |` [<>]|multiple of|out of range"), "out_of_range"),
    (re.compile("^Expected `"), "wrong_type"),
]


def child_path(path: str, key: object) -> str:
    """The path of a field."""
    return path + _suffix(str(key))


def _suffix(name: str) -> str:
    if len(name) > _NAME_CHARACTERS:
        name = name[:_NAME_CHARACTERS] + "..."
    return f".{name}" if _PLAIN_KEY.fullmatch(name) else f"[{json.dumps(name)}]"


def reason_of(message: str) -> str:
    """The label of a message of msgspec's."""
    return next((reason for pattern, reason in _REASONS if pattern.search(message)), "invalid")


def problems(walker: Walker, value: Any) -> list[Problem]:
    """The problems of a value, about MAX_PROBLEMS at most; none if it is valid."""
    found: list[Problem] = []
    walker.walk(value, "$", found)
    return found


def compile_type(annotation: Any, checks: Mapping[str, Check] | None = None) -> Walker:
    """The walker of a type.

    `checks` are the rules that annotations name by `Meta(extra={"check": name})`. Values of types
    whose parts cannot be told apart (unions of several types, tuples, tagged Structs) are judged
    as a whole: their first problem stands for all.
    """
    return _Compiler(checks or {}).compile(annotation)


class _Compiler:
    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._structs: dict[type[Struct], _Fields] = {}

    def compile(self, annotation: Any) -> Walker:
        base, metas = _unwrap(annotation)
        members = [member for member in _members(base) if member is not UnsetType]
        others = [member for member in members if member is not type(None)]
        if len(others) > 1:
            return _Whole(annotation)
        if len(members) > 1:
            return _Nullable(self.compile(others[0]))
        base = members[0]
        if _has_fields(base):
            return self._struct(base)
        names = [meta.extra["check"] for meta in metas if meta.extra and "check" in meta.extra]
        checks = [self._checks[name] for name in names]
        origin, args = get_origin(base), get_args(base)
        if origin in (list, set, frozenset):
            return _Items(_Whole(origin[Any], metas, checks), self.compile(args[0]))
        if origin is dict:
            return _Items(_Whole(dict[args[0], Any], metas, checks), self.compile(args[1]))  # type: ignore[valid-type]
        return _Whole(base, metas, checks)

    def _struct(self, cls: type[Struct]) -> _Fields:
        # Known before its fields are: a type may contain itself.
        walker = self._structs.get(cls)
        if walker is None:
            walker = self._structs[cls] = _Fields(cls)
            for field in msgspec.structs.fields(cls):
                walker.add(field.encode_name, field.required, self.compile(field.type))
        return walker


class _Nullable:
    def __init__(self, inner: Walker) -> None:
        self._inner = inner

    def walk(self, value: Any, path: str, found: list[Problem]) -> None:
        if value is not None:
            self._inner.walk(value, path, found)


class _Whole:
    """The first problem of a value, as msgspec has it; then the checks of its type."""

    def __init__(
        self, annotation: Any, metas: Sequence[Meta] = (), checks: Sequence[Check] = ()
    ) -> None:
        if metas:
            annotation = Annotated[(annotation, *metas)]
        # msgspec keeps what it knows of a Struct, and of no other type.
        self._holder = msgspec.defstruct("Holder", [("value", annotation)])
        self._allowed = get_args(annotation) if get_origin(annotation) is Literal else ()
        self._checks = checks

    def walk(self, value: Any, path: str, found: list[Problem]) -> None:
        try:
            msgspec.convert({"value": value}, self._holder)
        except Exception as error:  # __post_init__ of a user's type may raise anything
            found.append(self._problem(str(error), path))
            return
        found.extend(
            Problem(check.reason, path, check.message)
            for check in self._checks
            if not check.test(value)
        )

    def _problem(self, message: str, path: str) -> Problem:
        location = _LOCATION.search(message)
        if location is not None:
            message, path = message[: location.start()], path + location[1]
        reason = reason_of(message)
        if reason == "not_allowed" and self._allowed:
            message = f"expected one of {', '.join(map(str, self._allowed))}"
        return Problem(reason, path, message)


class _Items:
    """A list or an object and each of its items."""

    def __init__(self, whole: _Whole, item: Walker) -> None:
        self._whole = whole
        self._item = item

    def walk(self, value: Any, path: str, found: list[Problem]) -> None:
        self._whole.walk(value, path, found)
        if isinstance(value, dict):
            for key, item in value.items():
                self._item.walk(item, child_path(path, key), found)
                if len(found) >= MAX_PROBLEMS:
                    return
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                self._item.walk(item, f"{path}[{index}]", found)
                if len(found) >= MAX_PROBLEMS:
                    return


class _Fields:
    """The fields of a Struct, then what only its class itself knows."""

    def __init__(self, cls: type[Struct]) -> None:
        self._whole = _Whole(cls)
        self._closed = cls.__struct_config__.forbid_unknown_fields
        self._fields: dict[str, tuple[str, bool, Walker]] = {}

    def add(self, name: str, required: bool, walker: Walker) -> None:
        self._fields[name] = _suffix(name), required, walker

    def walk(self, value: Any, path: str, found: list[Problem]) -> None:
        before = len(found)
        if isinstance(value, dict):
            for name, (suffix, required, walker) in self._fields.items():
                if name in value:
                    walker.walk(value[name], path + suffix, found)
                elif required:
                    found.append(
                        Problem("missing_field", path + suffix, "a required field is missing")
                    )
            if self._closed:
                found.extend(
                    Problem("unknown_field", child_path(path, name), "the field is unknown")
                    for name in value
                    if name not in self._fields
                )
        if len(found) == before:
            self._whole.walk(value, path, found)


def _has_fields(base: Any) -> bool:
    if not (isinstance(base, type) and issubclass(base, Struct)):
        return False
    config = base.__struct_config__
    return config.tag is None and not config.array_like


def _unwrap(annotation: Any) -> tuple[Any, list[Meta]]:
    if get_origin(annotation) is Annotated:
        base, *metas = get_args(annotation)
        return base, [meta for meta in metas if isinstance(meta, Meta)]
    return annotation, []


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return list(get_args(annotation))
    return [annotation]
