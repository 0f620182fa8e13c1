"""The changes of a map, each over all events of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from streamd.api import Reject
from streamd_expressions import FUNCTIONS, MISSING, EvaluationError, Expression
from streamd_transforms.base import Names, Unfit, expression_reject
from streamd_transforms.trees import Tree, below, copied, dotted, peek, projected, put, take_out

Kind = Literal["int", "float", "string", "bool", "timestamp"]

_SCALARS: Final = frozenset((type(None), bool, int, float, str, bytes))


@dataclass(slots=True)
class Work:
    """The events of a batch while they are changed.

    `events` are working copies, copied along the map's tree; `changed` tells which of them differ
    from what came in, `rejects` which cannot be changed.
    """

    events: list[Any]
    changed: bytearray
    rejects: dict[int, Reject] = field(default_factory=dict)

    def reject(self, row: int, reject: Reject) -> None:
        """The first reason counts."""
        self.rejects.setdefault(row, reject)


class Change(Protocol):
    """One kind of change. `writes` are the fields that it may write or take out."""

    @property
    def writes(self) -> Sequence[Names]: ...

    def apply(self, work: Work, tree: Tree) -> None: ...


class Rename:
    """Moves fields, all at once, so that two can change places."""

    def __init__(self, moves: Sequence[tuple[Names, Names]]) -> None:
        self._moves = moves
        self.writes = [path for move in moves for path in move]

    def apply(self, work: Work, tree: Tree) -> None:
        for row, event in enumerate(work.events):
            taken = [
                (target, value)
                for source, target in self._moves
                if (value := take_out(event, source)) is not MISSING
            ]
            if taken:
                work.changed[row] = True
            try:
                for target, value in taken:
                    put(event, target, _owned(value, tree, target))
            except Unfit as error:
                work.reject(row, error.reject())


class Convert:
    """Gives fields another type. A null stays null, a missing field missing."""

    def __init__(self, fields: Sequence[tuple[Names, Kind]]) -> None:
        self._fields = [(path, *_CONVERTERS[kind]) for path, kind in fields]
        self.writes = [path for path, _ in fields]

    def apply(self, work: Work, tree: Tree) -> None:  # noqa: ARG002
        for path, kind, convert in self._fields:
            for row, event in enumerate(work.events):
                value = peek(event, path)
                if type(value) is kind or value is None or value is MISSING:
                    continue
                try:
                    put(event, path, convert(value))
                except EvaluationError as error:
                    message = f"{dotted(path)}: {error}"
                    work.reject(row, Reject("convert", message, error_type="EvaluationError"))
                else:
                    work.changed[row] = True


class Assign:
    """Sets a field to what an expression gives."""

    def __init__(self, path: Names, value: Expression) -> None:
        self._path = path
        self._expression = value
        self.writes = [path]

    def apply(self, work: Work, tree: Tree) -> None:
        errors: dict[int, str] = {}
        events, path = work.events, self._path
        values = self._expression.map_values(events, None, errors)
        for row, message in errors.items():
            work.reject(row, expression_reject(message))
        for row, value in enumerate(values):
            if type(value) not in _SCALARS:
                # It may be a part of this very event, which must not see what is written later.
                events[row] = copied(events[row], tree)
                value = _owned(value, tree, path)
            try:
                put(events[row], path, value)
            except Unfit as error:
                work.reject(row, error.reject())
        work.changed[:] = b"\1" * len(values)


class Remove:
    """Takes fields away."""

    def __init__(self, paths: Sequence[Names]) -> None:
        self.writes = paths

    def apply(self, work: Work, tree: Tree) -> None:  # noqa: ARG002
        for path in self.writes:
            for row, event in enumerate(work.events):
                if take_out(event, path) is not MISSING:
                    work.changed[row] = True


class Keep:
    """Takes everything away but some fields."""

    def __init__(self, paths: Sequence[Names], wanted: Tree) -> None:
        self.writes = paths
        self._wanted = wanted

    def apply(self, work: Work, tree: Tree) -> None:  # noqa: ARG002
        for row, event in enumerate(work.events):
            if isinstance(event, dict):
                kept = projected(event, self._wanted)
                if kept is not event:
                    work.events[row] = kept
                    work.changed[row] = True


def _owned(value: Any, tree: Tree, path: Names) -> Any:
    """A value that may be written below once it stands at the path."""
    part = below(tree, path)
    return value if part is None else copied(value, part)


def _function(name: str) -> Callable[[Any], Any]:
    function = FUNCTIONS[name].call
    assert function is not None, name
    return function


_CONVERTERS: Final[Mapping[Kind, tuple[type, Callable[[Any], Any]]]] = {
    "int": (int, _function("int")),
    "float": (float, _function("float")),
    "string": (str, _function("str")),
    "bool": (bool, _function("bool")),
    "timestamp": (int, _function("timestamp")),
}
