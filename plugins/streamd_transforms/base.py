"""What the transforms have in common: settings compiled, rows refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Self

from streamd.api import ConfigError, Reject
from streamd_expressions import (
    Expression,
    ExpressionError,
    compile_expression,
    compile_path,
    parse_path,
)

Names = tuple[str, ...]
"""A field path without list indices, from the event inwards."""

STREAM = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Unfit(Exception):  # noqa: N818
    """An event that a transform cannot work on; becomes a reject of the reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def reject(self) -> Reject:
        return Reject(self.reason, str(self))


class Transform:
    """A step that needs nothing from outside."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None


def expression(text: str, setting: str, clock: Callable[[], int]) -> Expression:
    """Compile the expression of a setting; `clock` is what now() reads, ms since the epoch.

    Raises ConfigError with the column.
    """
    try:
        return compile_expression(text, clock=clock)
    except ExpressionError as error:
        raise ConfigError(str(error), path=setting) from None


def getter(text: str, setting: str) -> Callable[[Any], Any]:
    """A function of an event that reads the path of a setting: its value, or MISSING.

    Raises ConfigError with the column.
    """
    try:
        return compile_path(text)
    except ExpressionError as error:
        raise ConfigError(str(error), path=setting) from None


def field(text: str, setting: str) -> Names:
    """The path of a setting that names a field to write.

    Raises ConfigError if it is no path, the event itself, or leads into a list.
    """
    try:
        parts = parse_path(text)
    except ExpressionError as error:
        raise ConfigError(str(error), path=setting) from None
    if not parts:
        raise ConfigError("expected a field, not the whole event", path=setting)
    names = tuple(part for part in parts if isinstance(part, str))
    if len(names) < len(parts):
        raise ConfigError(
            f"{text} leads into a list, whose items cannot be changed one by one;"
            " make events of them with explode",
            path=setting,
        )
    return names


def within(table: str, key: str) -> str:
    """How `ConfigError` names a key of a table in the settings: `routes."odd key"`."""
    return f"{table}.{key}" if _BARE.fullmatch(key) else f'{table}."{key}"'


def stream_name(name: str, setting: str) -> str:
    """Raises ConfigError if this cannot be the name of a stream."""
    if not STREAM.fullmatch(name):
        raise ConfigError(f'"{name}": use letters, digits, "_", "-" and "."', path=setting)
    return name


def expression_reject(message: str) -> Reject:
    """The reject of a row for which an expression has no value."""
    return Reject("expression", message, error_type="EvaluationError")
