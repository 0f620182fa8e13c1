"""The team's guidelines on how a schema may grow: stricter than Avro, and easier to remember.

Backward (the new schema reads old data): optional fields may be added, that is with a default or
with null among their types; no field may be removed and no required one added; a type may change
only to one that Avro can read the old data with.
Forward (the old schema reads new data): fields may be added; none may be removed, no type changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from streamd_avro.compatibility import Problem, is_alike, names_match, problems_of_reading
from streamd_avro.schema import (
    NO_DEFAULT,
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Primitive,
    Record,
    Type,
    Union,
    describe,
    is_optional,
)

Direction = Literal["backward", "forward"]


def problems_of_change(old: Type, new: Type, direction: Direction) -> list[Problem]:
    """Every guideline that a change breaks. Paths are those of the new schema."""
    seen: set[tuple[Type, Type]] = set()
    return list(dict.fromkeys(_Comparison(direction, seen).types(old, new, "$")))


class _Comparison:
    def __init__(self, direction: Direction, seen: set[tuple[Type, Type]]) -> None:
        self._backward = direction == "backward"
        self._seen = seen

    def types(self, old: Type, new: Type, path: str) -> Iterator[Problem]:
        if (old, new) in self._seen:
            return
        self._seen.add((old, new))
        match old, new:
            case Record(), Record() if names_match(new, old):
                yield from self._fields(old, new, path)
            case Array(before), Array(after):
                yield from self.types(before, after, f"{path}[]")
            case Map(before), Map(after):
                yield from self.types(before, after, f"{path}{{}}")
            case Union(before), Union(after):
                yield from self._branches(before, after, path)
            case (Enum(), Enum()) | (Fixed(), Fixed()):
                yield from self._readable(old, new, path)
            case _ if describe(old) != describe(new):
                yield from self._changed(old, new, path)

    def _fields(self, old: Record, new: Record, path: str) -> Iterator[Problem]:
        before = {field.name: field for field in old.fields}
        renamed = {alias: field for field in new.fields for alias in field.aliases}
        after = {field.name: field for field in new.fields}
        for field in old.fields:
            now = after.get(field.name) or (renamed.get(field.name) if self._backward else None)
            if now is None:
                yield Problem(f"{path}.{field.name}", "field_removed", "no field may be removed")
            else:
                yield from self.types(field.type, now.type, f"{path}.{now.name}")
        for field in new.fields:
            is_new = not any(name in before for name in (field.name, *field.aliases))
            if self._backward and is_new and not _is_optional_field(field):
                message = "a new field needs a default or null among its types"
                yield Problem(f"{path}.{field.name}", "required_field_added", message)

    def _branches(self, old: list[Type], new: list[Type], path: str) -> Iterator[Problem]:
        """Each branch against its like. Backward, none may go; forward, none may come."""
        kept, others = (old, new) if self._backward else (new, old)
        for branch in kept:
            like = next((other for other in others if _corresponds(branch, other)), None)
            if like is None:
                yield from self._changed(Union(old), Union(new), path)
                return
            before, after = (branch, like) if self._backward else (like, branch)
            yield from self.types(before, after, path)

    def _changed(self, old: Type, new: Type, path: str) -> Iterator[Problem]:
        if self._backward:
            yield from self._readable(old, new, path)
        else:
            message = f"{describe(old)} has become {describe(new)}"
            yield Problem(path, "type_changed", message)

    def _readable(self, old: Type, new: Type, path: str) -> Iterator[Problem]:
        reader, writer = (new, old) if self._backward else (old, new)
        for problem in problems_of_reading(reader, writer):
            yield problem._replace(path=path + problem.path.removeprefix("$"))


def _corresponds(one: Type, other: Type) -> bool:
    if isinstance(one, Primitive):
        return describe(one) == describe(other)
    return is_alike(one, other) or is_alike(other, one)


def _is_optional_field(field: Field) -> bool:
    return field.default is not NO_DEFAULT or is_optional(field.type)
