"""The public face: compile an expression or a path once, use it on every event."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .compiler import Compiler
from .errors import ExpressionError
from .parser import Parsed, Path, parse, path_of
from .paths import Reader, map_dicts
from .templates import build_expression, build_getter


class Evaluate(Protocol):
    """See `Expression.evaluate`."""

    def __call__(self, event: Any, now_ms: int | None = None) -> Any: ...


class FilterIndices(Protocol):
    """See `Expression.filter_indices`."""

    def __call__(
        self, values: Sequence[Any], now_ms: int | None = None, errors: dict[int, str] | None = None
    ) -> list[int]: ...


class MapValues(Protocol):
    """See `Expression.map_values`."""

    def __call__(
        self, values: Sequence[Any], now_ms: int | None = None, errors: dict[int, str] | None = None
    ) -> list[Any]: ...


def system_clock() -> int:
    """The wall clock in ms since the epoch: what now() reads unless told otherwise."""
    return time.time_ns() // 1_000_000


class Expression:
    """A compiled expression. Immutable; made by `compile_expression`.

    The three functions are attributes rather than methods, which saves a call per event. Each
    takes `now_ms`, what now() gives (int, ms since the epoch); None asks the clock, once per
    call. None of them changes an event, but a result may be part of one, not a copy.

    Attributes:
        text: the expression as it was written.
        fields: the paths that it reads, as tuples of names from the event inwards. A path ends
            before its first list index: `a.items[0].b` is ("a", "items"). `$`, the whole event,
            is ().
        evaluate: `(event, now_ms=None)` -> the value. Raises EvaluationError when the event does
            not fit (arithmetic on null, a function of the wrong type, ...), and nothing else.
        filter_indices: `(values, now_ms=None, errors=None)` -> the ascending indices of the
            values for which the expression is truthy. An event that does not fit is left out and
            noted in `errors` (index to reason); without `errors` its EvaluationError is raised.
        map_values: `(values, now_ms=None, errors=None)` -> the value for each; where an event
            does not fit, None and a note in `errors`, or the EvaluationError as above.
    """

    __slots__ = ("evaluate", "fields", "filter_indices", "map_values", "text")

    text: str
    fields: frozenset[tuple[str, ...]]
    evaluate: Evaluate
    filter_indices: FilterIndices
    map_values: MapValues

    def __init__(self, text: str, clock: Callable[[], int] = system_clock) -> None:
        parsed = parse(text)
        try:
            compiler = Compiler(parsed)
            functions = build_expression(
                compiler.result,
                compiler.reader.hoisted,
                {**compiler.reader.namespace, "clock": clock},
                text=text,
                uses_now=compiler.uses_now,
            )
        except (RecursionError, MemoryError):
            raise ExpressionError(text, 1, "this expression is too deep or too large") from None
        self.text = text
        self.fields = frozenset(map(_names, compiler.paths))
        self.evaluate = functions["evaluate"]
        self.filter_indices = functions["filter_indices"]
        self.map_values = functions["map_values"]
        path = path_of(parsed, parsed.body)
        if path and all(isinstance(part, str) for part in path):
            self.map_values = map_dicts(path, self.map_values)

    def __call__(self, event: Any, now_ms: int | None = None) -> Any:
        """The same as `evaluate`."""
        return self.evaluate(event, now_ms)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def compile_expression(text: str, *, clock: Callable[[], int] = system_clock) -> Expression:
    """Compile an expression.

    Args:
        text: the expression; the language is described in this package's documentation.
        clock: what now() reads, ms since the epoch.

    Returns:
        The compiled expression.

    Raises:
        ExpressionError: the text is not an expression; it says where and what to write instead.
    """
    return Expression(text, clock)


def compile_path(text: str) -> Callable[[Any], Any]:
    """Compile a field path such as `payload.data.amount`, `payload["odd-key"]`, `items[0].id`.

    Args:
        text: the path; `$` is the event itself.

    Returns:
        A function of an event (dict or Struct, in any mixture) that gives the value, or MISSING
        where there is none; a null is None. It raises nothing.

    Raises:
        ExpressionError: the text is not a path.
    """
    parsed = parse(text)
    path = _path(parsed)
    reader = Reader([path])
    getter: Callable[[Any], Any] = build_getter(reader.read(path, missing=True), reader.namespace)
    return getter


def parse_path(text: str) -> Path:
    """The parts of a field path: str for a name, int for a list index, () for `$`.

    Args:
        text: as for `compile_path`.

    Raises:
        ExpressionError: the text is not a path.
    """
    return _path(parse(text))


def _path(parsed: Parsed) -> Path:
    path = path_of(parsed, parsed.body)
    if path is None:
        hint = 'write payload.amount, payload["odd-key"] or items[0]'
        raise parsed.error(parsed.body, "expected a field path", hint)
    return path


def _names(path: Path) -> tuple[str, ...]:
    names: list[str] = []
    for part in path:
        if isinstance(part, int):
            break
        names.append(part)
    return tuple(names)
