"""What a ClickHouse column type is to the sink.

A column goes through two steps. `fit` turns what events hold into exactly one Python
representation per type, one that the client library takes without guessing, and refuses what
would be changed by it. `encode` writes fitted values in the Native format and cannot fail. Both
work on whole columns: a check of the set of types, a minimum and a maximum cost a fraction of a
look at each value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from streamd_columns import Unfit

FIT_ERRORS = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What `fit` raises, beside Misfit, for values that do not fit."""

_SHOWN = 60


class Misfit(ValueError):  # noqa: N818
    """A value does not fit its column, in words for people."""


class ColumnType(ABC):
    """A column type. `spelling` is the server's, `expects` says what fits, in words.

    `zero` is the fitted value that ClickHouse takes for the type's default. `prefix` is written
    before the data of a column that contains the type. `joins` tells whether the encoded halves of
    a column, one after the other, are the encoded column.
    """

    spelling: str
    expects: str
    zero: Any
    nullable = False
    joins = True
    prefix = b""

    @abstractmethod
    def fit(self, values: list[Any]) -> list[Any]:
        """The fitted values. Fitted values fit again.

        Raises Misfit or another of FIT_ERRORS if any of the values does not fit.
        """

    def fit_ms(self, values: list[Any]) -> list[Any]:
        """Like `fit`, for times in milliseconds since the epoch."""
        return self.fit(values)

    @abstractmethod
    def encode(self, values: Sequence[Any]) -> bytes:
        """Fitted values in the Native format."""

    def write(self, values: list[Any]) -> bytes:
        """`fit` and `encode` at once, for types that can share work between them."""
        return self.encode(self.fit(values))

    def misfit(self, value: Any) -> Misfit:
        """Why this value does not fit, for a value of which nothing better is known."""
        return Misfit(f"expected {self.expects}, got {shown(value)}")


def require(column: ColumnType, values: list[Any], *types: type) -> set[type]:
    """The types of the values. Raises Misfit if there are others than these.

    Exact types: a bool is no int here.
    """
    kinds = set(map(type, values))
    if not kinds <= set(types):
        raise column.misfit(next(value for value in values if type(value) not in types))
    return kinds


def shown(value: Any) -> str:
    """A value in an error message: short, and never with what it may contain deep down."""
    if isinstance(value, Unfit):
        return f"a value that {value.message}"
    if isinstance(value, dict | list | tuple):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if value is None:
        return "null"
    text = repr(value[: 2 * _SHOWN]) if isinstance(value, str | bytes) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
