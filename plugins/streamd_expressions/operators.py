"""What the operators do at run time: null, type and size rules in one place.

Numbers are int, float and Decimal, never bool. Null compares as unordered: `<` and its kin
are false whenever a side is null. Everything else that does not fit raises EvaluationError.
"""

from __future__ import annotations

import datetime
import decimal
import operator
from collections.abc import Callable
from typing import Any, Final

import msgspec

from .errors import EvaluationError
from .limits import (
    MAX_EXPONENT,
    MAX_INT_BITS,
    MAX_ITEMS,
    MAX_REPEAT,
    MAX_REPEAT_ITEMS,
    MAX_STRING,
)
from .values import LISTS, struct_names, type_name

_LIMIT: Final = 1 << MAX_INT_BITS
_SCALARS: Final = frozenset({int, float, str, bool, type(None)})
_ORDERED: Final = frozenset({int, float, str})
_SIMPLE: Final = frozenset({int, float})
_NUMBERS: Final = (int, float, decimal.Decimal)
_REPEATABLE: Final = (str, list, tuple)
_COLLECTIONS: Final = (list, tuple, set, frozenset)
_ORDERED_BASES: Final = (str, bytes, datetime.datetime, datetime.date, datetime.time)


def is_number(value: Any) -> bool:
    """Whether a value takes part in arithmetic: int, float or Decimal, and not bool."""
    kind = type(value)
    if kind is int or kind is float:
        return True
    return isinstance(value, _NUMBERS) and kind is not bool


def _cannot(verb: str, a: Any, b: Any) -> EvaluationError:
    return EvaluationError(f"cannot {verb} {type_name(a)} and {type_name(b)}")


def _calculate(verb: str, function: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """Run one arithmetic operation on two numbers, with Python's own errors made plain."""
    if not (is_number(a) and is_number(b)):
        raise _cannot(verb, a, b)
    try:
        return function(a, b)
    except ZeroDivisionError:
        raise EvaluationError("division by zero") from None
    except OverflowError:
        raise EvaluationError("the result is too large for a float") from None
    except (TypeError, decimal.DecimalException):  # Decimal with float, Decimal NaN
        raise _cannot(verb, a, b) from None


def add(a: Any, b: Any) -> Any:
    """a + b for two numbers, two strings or two lists; EvaluationError otherwise."""
    kind = type(a)
    if (kind is int or kind is float) and (type(b) is int or type(b) is float):
        return a + b
    if isinstance(a, str) and isinstance(b, str):
        check_size(len(a) + len(b), MAX_STRING, "characters")
        return a + b
    if isinstance(a, LISTS) and isinstance(b, LISTS):
        check_size(len(a) + len(b), MAX_ITEMS, "items")
        return [*a, *b]
    return _calculate("add", operator.add, a, b)


def sub(a: Any, b: Any) -> Any:
    """a - b for two numbers; EvaluationError otherwise."""
    kind = type(a)
    if (kind is int or kind is float) and (type(b) is int or type(b) is float):
        return a - b
    return _calculate("subtract", operator.sub, a, b)


def mul(a: Any, b: Any) -> Any:
    """a * b for two numbers, or a string or list of scalars repeated, all of bounded size."""
    kind, other = type(a), type(b)
    if (kind is float and other in _SIMPLE) or (other is float and kind is int):
        return a * b  # cannot grow
    if isinstance(a, _REPEATABLE):
        return _repeat(a, b)
    if isinstance(b, _REPEATABLE):
        return _repeat(b, a)
    result = _calculate("multiply", operator.mul, a, b)
    if type(result) is int and not -_LIMIT < result < _LIMIT:
        raise EvaluationError(f"an integer result has at most {MAX_INT_BITS} bits")
    return result


def _repeat(value: Any, times: Any) -> Any:
    if type(times) is not int:
        raise _cannot("multiply", value, times)
    times = max(times, 0)
    if isinstance(value, str):
        check_size(len(value) * times, MAX_REPEAT, "characters")
        return value * times
    # Lists of lists repeated would share items and make comparing them exponential.
    if not all(type(item) in _SCALARS for item in value):
        raise EvaluationError("only lists of numbers, strings, bools and nulls can be repeated")
    check_size(len(value) * times, MAX_REPEAT_ITEMS, "items")
    return list(value) * times


def truediv(a: Any, b: Any) -> Any:
    """a / b, a float for ints; EvaluationError for other types and for b = 0."""
    return _calculate("divide", operator.truediv, a, b)


def floordiv(a: Any, b: Any) -> Any:
    """a // b, rounded down; EvaluationError for other types and for b = 0."""
    return _calculate("divide", operator.floordiv, a, b)


def mod(a: Any, b: Any) -> Any:
    """a % b with the sign of b; numbers only (never string formatting)."""
    return _calculate("divide", operator.mod, a, b)


def power(a: Any, b: Any) -> Any:
    """a ** b for ints and floats, with exponent and size of the result bounded."""
    if not (is_number(a) and is_number(b)) or decimal.Decimal in (type(a), type(b)):
        raise _cannot("raise to a power", a, b)
    if abs(b) > MAX_EXPONENT:
        raise EvaluationError(f"an exponent is at most {MAX_EXPONENT}")
    if isinstance(a, int) and isinstance(b, int) and a.bit_length() * b > MAX_INT_BITS:
        raise EvaluationError(f"an integer result has at most {MAX_INT_BITS} bits")
    result = _calculate("raise to a power", operator.pow, a, b)
    if isinstance(result, complex):
        raise EvaluationError("a negative number has no fractional power")
    return result


def neg(a: Any) -> Any:
    """-a for a number; EvaluationError otherwise."""
    if not is_number(a):
        raise EvaluationError(f"cannot negate {type_name(a)}")
    return -a


def pos(a: Any) -> Any:
    """+a for a number; EvaluationError otherwise."""
    if not is_number(a):
        raise EvaluationError(f"cannot take + of {type_name(a)}")
    return a


def check_size(size: int, limit: int, unit: str) -> None:
    """Refuse a result before it is made.

    Args:
        size: what it would have.
        limit: what it may have.
        unit: of both, in the plural.

    Raises:
        EvaluationError: it is too large.
    """
    if size > limit:
        raise EvaluationError(f"the result would have {size} {unit}; at most {limit} are allowed")


def eq(a: Any, b: Any) -> bool:
    """Equality: across types false, but 1 == 1.0; true is not 1; lists and objects by content."""
    kind, other = type(a), type(b)
    if kind is other:
        if kind in _SCALARS:
            return bool(a == b)
    elif kind is bool or other is bool:
        return False
    if isinstance(a, LISTS) and isinstance(b, LISTS):
        return len(a) == len(b) and all(map(eq, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return len(a) == len(b) and all(k in b and eq(v, b[k]) for k, v in a.items())
    return bool(a == b)


def member(item: Any, container: Any) -> bool:
    """`item in container`: of a list, a key of an object, part of a string; false in null."""
    if container is None:
        return False
    if isinstance(container, str):
        if item is None:
            return False
        if isinstance(item, str):
            return item in container
    elif isinstance(container, _COLLECTIONS):
        return any(eq(item, each) for each in container)
    elif isinstance(container, dict):
        return isinstance(item, str) and item in container
    elif isinstance(container, msgspec.Struct):
        return isinstance(item, str) and item in struct_names(type(container))
    raise EvaluationError(f"cannot look for {type_name(item)} in {type_name(container)}")


def _ordered(name: str, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def compare(a: Any, b: Any) -> bool:
        kind, other = type(a), type(b)
        if kind is other and kind in _ORDERED:
            return bool(function(a, b))
        if a is None or b is None:
            return False
        if not (is_number(a) and is_number(b)):
            bases = [base for base in _ORDERED_BASES if isinstance(a, base)]
            if not any(isinstance(b, base) for base in bases):
                raise _cannot(f"order ({name})", a, b)
        try:
            return bool(function(a, b))
        except (TypeError, decimal.DecimalException):  # naive with aware times, Decimal NaN
            raise _cannot(f"order ({name})", a, b) from None

    return compare


lt: Final = _ordered("<", operator.lt)
le: Final = _ordered("<=", operator.le)
gt: Final = _ordered(">", operator.gt)
ge: Final = _ordered(">=", operator.ge)
