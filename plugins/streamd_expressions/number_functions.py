"""Functions on numbers. Each raises EvaluationError for what does not fit; ints stay exact."""

from __future__ import annotations

import decimal
import math
import re
from typing import Any, Final

from .errors import EvaluationError
from .operators import gt, is_number, lt
from .values import LISTS, type_name

_DIGITS: Final = re.compile(r"[+-]?[0-9]{1,1000}")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?")
_MAX_FLOAT_TEXT: Final = 400
_MAX_DIGITS: Final = 15  # all that a float has
_BOOLS: Final = {"true": True, "1": True, "false": False, "0": False, "": False}


def _number(name: str, value: Any) -> Any:
    if is_number(value):
        return value
    raise EvaluationError(f"{name}() needs a number, got {type_name(value)}")


def to_int(value: Any) -> int:
    """An int: numbers towards zero, bools as 0 and 1, text of decimal digits."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (float, decimal.Decimal)):
        return int(_finite("int", value))
    if isinstance(value, str):
        text = value.strip()
        if _DIGITS.fullmatch(text):
            return int(text)
        raise EvaluationError("int() needs text of digits")
    raise EvaluationError(f"int() needs a number or text, got {type_name(value)}")


def to_float(value: Any) -> float:
    """A finite float of a number, a bool or decimal text."""
    if isinstance(value, str):
        text = value.strip()
        if len(text) > _MAX_FLOAT_TEXT or not _DECIMAL.fullmatch(text):
            raise EvaluationError("float() needs text of a decimal number")
        return float(_finite("float", float(text)))
    if isinstance(value, (int, float, decimal.Decimal)):
        try:
            return float(_finite("float", float(value)))
        except (OverflowError, ValueError):
            raise EvaluationError("float() of a number too large for one") from None
    raise EvaluationError(f"float() needs a number or text, got {type_name(value)}")


def _finite(name: str, value: Any) -> Any:
    if math.isfinite(value):
        return value
    raise EvaluationError(f"{name}() of a number that is not finite")


def to_bool(value: Any) -> bool:
    """A bool: null and 0 are false; text is true, 1, false, 0 or empty, in any case."""
    if value is None:
        return False
    if isinstance(value, bool) or is_number(value):
        return bool(value)
    if isinstance(value, str):
        result = _BOOLS.get(value.strip().lower())
        if result is not None:
            return result
        raise EvaluationError('bool() needs "true", "false", "1", "0" or ""')
    raise EvaluationError(f"bool() needs a bool, number or text, got {type_name(value)}")


def rounded(value: Any, digits: Any = None) -> Any:
    """The nearest number, halves to even.

    Args:
        value: a number.
        digits: places after the point, -15 to 15; left out means an int is made.
    """
    number = _finite("round", _number("round", value))
    if digits is None:
        return round(number)
    if type(digits) is not int or abs(digits) > _MAX_DIGITS:
        raise EvaluationError(f"round() needs digits from -{_MAX_DIGITS} to {_MAX_DIGITS}")
    try:
        return round(number, digits)
    except (decimal.DecimalException, OverflowError):
        raise EvaluationError("round() of a number too large for it") from None


def absolute(value: Any) -> Any:
    """The number without its sign."""
    return abs(_number("abs", value))


def floor(value: Any) -> int:
    """The largest int that is not above the number."""
    result: int = math.floor(_finite("floor", _number("floor", value)))
    return result


def ceil(value: Any) -> int:
    """The smallest int that is not below the number."""
    result: int = math.ceil(_finite("ceil", _number("ceil", value)))
    return result


def least(*values: Any) -> Any:
    """The least of the arguments, or of the one list given; null for an empty list."""
    return _extreme("min", values, lt)


def most(*values: Any) -> Any:
    """The most of the arguments, or of the one list given; null for an empty list."""
    return _extreme("max", values, gt)


def _extreme(name: str, values: tuple[Any, ...], beats: Any) -> Any:
    items = values
    if len(values) == 1:
        if not isinstance(values[0], LISTS):
            _number(name, values[0])
            return values[0]
        items = tuple(values[0])
    best: Any = None
    for position, item in enumerate(items):
        if item is None:
            raise EvaluationError(f"{name}() cannot compare null; use coalesce()")
        # The first is compared with itself so that what has no order is refused even alone.
        if beats(item, best if position else item) or position == 0:
            best = item
    return best
