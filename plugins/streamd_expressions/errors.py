"""The two errors of the expression language and how they are shown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NoReturn

_SHOWN = 100  # characters of the expression in a message: one line of a log


class ExpressionError(ValueError):
    """The text is not an expression; raised when it is compiled, never per event.

    Attributes:
        text: the whole expression as it was given.
        column: where the fault is, counted in characters from 1; `len(text) + 1` is the end.
        message: what is wrong, on one line.
        hint: what to write instead, or "".
    """

    def __init__(self, text: str, column: int, message: str, hint: str = "") -> None:
        super().__init__(text, column, message, hint)
        self.text = text
        self.column = column
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        head = f"{self.message} ({self.hint})" if self.hint else self.message
        line, at = _line_at(self.text, self.column - 1)
        return f"{head} at column {self.column}\n  {line}\n  {' ' * at}^"


class EvaluationError(ValueError):
    """An event does not fit the expression; the caller makes it a reject.

    Attributes:
        message: what is wrong, on one line, without the event's data.
        text: the expression, or "" while the error is still on its way up.
    """

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message, text)
        self.message = message
        self.text = text

    def __str__(self) -> str:
        if not self.text:
            return self.message
        text = " ".join(self.text.split())
        if len(text) > _SHOWN:
            text = text[:_SHOWN] + "..."
        return f"{self.message}, in the expression: {text}"


def fail(error: Exception, text: str) -> NoReturn:
    """Raise what an evaluation hit as an EvaluationError that names the expression.

    Args:
        error: what a helper or Python itself raised.
        text: the expression.

    Raises:
        EvaluationError: always.
    """
    if isinstance(error, EvaluationError):
        raise EvaluationError(error.message, text) from error
    if isinstance(error, RecursionError):
        raise EvaluationError("the event is nested too deeply", text) from error
    raise EvaluationError(f"{type(error).__name__}: {error}", text) from error


def record(error: Exception, text: str, index: int, errors: dict[int, str] | None) -> None:
    """Note a row's failure in a batch, or raise it when the caller keeps no notes.

    Args:
        error: what the row's evaluation raised.
        text: the expression.
        index: the row.
        errors: row index to reason; None means raise.

    Raises:
        EvaluationError: when `errors` is None.
    """
    try:
        fail(error, text)
    except EvaluationError as failure:
        if errors is None:
            raise
        errors[index] = str(failure)


def nearest(name: str, names: Iterable[str]) -> str:
    """A "did you mean" for a misspelt name.

    Args:
        name: what was written.
        names: what exists.

    Returns:
        The hint, or "" when nothing is close.
    """
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def _line_at(text: str, offset: int) -> tuple[str, int]:
    """The line that holds `offset`, cut to a window around it, and the place inside it."""
    offset = max(0, min(offset, len(text)))
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    line = text[start : end if end >= 0 else len(text)]
    # One column per character, whatever a terminal makes of a tab or a control character.
    line = "".join(c if c.isprintable() else " " for c in line)
    at = offset - start
    left = max(0, at - _SHOWN // 2)
    shown = line[left : left + _SHOWN]
    if left:
        shown = "..." + shown
        at += 3
    if left + _SHOWN < len(line):
        shown += "..."
    return shown, at - left
