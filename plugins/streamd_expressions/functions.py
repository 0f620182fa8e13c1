"""The function table: all that an expression can call.

Null rules: the predicates (contains, startswith, endswith, matches) are false for a null
subject; first and last of null are null, as lookups are; everything else raises
EvaluationError for null, which `coalesce(field, default)` avoids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from . import number_functions as numbers
from . import text_functions as texts
from . import time_functions as times


@dataclass(frozen=True, slots=True)
class Function:
    """One entry of the table.

    Attributes:
        usage: how it is written, for messages and the documentation.
        least: fewest arguments.
        most: most arguments, None for no limit.
        call: the implementation; None when the compiler has its own way (exists, now, ...).
        doc: one line.
    """

    usage: str
    least: int
    most: int | None
    call: Callable[..., Any] | None
    doc: str


FUNCTIONS: Final[dict[str, Function]] = {
    "exists": Function("exists(path)", 1, 1, None, "whether the event has the field, null or not"),
    "missing": Function("missing(path)", 1, 1, None, "not exists(path)"),
    "coalesce": Function("coalesce(a, b, ...)", 1, None, None, "the first that is not null"),
    "now": Function("now()", 0, 0, None, "the time in ms since the epoch"),
    "matches": Function(
        'matches(text, r"pattern")', 2, 2, None, "whether the pattern occurs; anchor with ^ and $"
    ),
    "type": Function("type(x)", 1, 1, texts.type_of, "null, bool, int, float, string, list, ..."),
    "len": Function("len(x)", 1, 1, texts.length, "characters, items or keys"),
    "lower": Function("lower(text)", 1, 1, texts.lower, "in lower case"),
    "upper": Function("upper(text)", 1, 1, texts.upper, "in upper case"),
    "trim": Function("trim(text)", 1, 1, texts.trim, "without white space at the ends"),
    "contains": Function("contains(x, part)", 2, 2, texts.contains, "part in x, false for null"),
    "startswith": Function(
        "startswith(text, start)", 2, 2, texts.startswith, "whether it starts so; false for null"
    ),
    "endswith": Function(
        "endswith(text, end)", 2, 2, texts.endswith, "whether it ends so; false for null"
    ),
    "replace": Function("replace(text, old, new)", 3, 3, texts.replace, "every old made new"),
    "split": Function("split(text, separator)", 2, 2, texts.split, "the parts, a list"),
    "join": Function("join(list, separator)", 2, 2, texts.join, "the items as one string"),
    "concat": Function("concat(a, b, ...)", 1, None, texts.concat, "the values as one string"),
    "substr": Function(
        "substr(text, start[, length])", 2, 3, texts.substr, "start from 0, negative from the end"
    ),
    "sha256": Function("sha256(text)", 1, 1, texts.sha256, "digest of the UTF-8, in hex"),
    "md5": Function("md5(text)", 1, 1, texts.md5, "digest of the UTF-8, in hex; not for security"),
    "keys": Function("keys(object)", 1, 1, texts.keys, "the field names, a list"),
    "first": Function("first(list)", 1, 1, texts.first, "first item, null if there is none"),
    "last": Function("last(list)", 1, 1, texts.last, "last item, null if there is none"),
    "str": Function("str(x)", 1, 1, texts.to_text, "a number, bool, string or time as text"),
    "int": Function("int(x)", 1, 1, numbers.to_int, "towards zero; of a number, bool or digits"),
    "float": Function("float(x)", 1, 1, numbers.to_float, "of a number, bool or text; finite"),
    "bool": Function("bool(x)", 1, 1, numbers.to_bool, 'null, 0, "", "0", "false" are false'),
    "round": Function("round(x[, digits])", 1, 2, numbers.rounded, "half to even, as Python does"),
    "abs": Function("abs(x)", 1, 1, numbers.absolute, "without the sign"),
    "min": Function("min(a, b, ...)", 1, None, numbers.least, "least of the arguments or one list"),
    "max": Function("max(a, b, ...)", 1, None, numbers.most, "most of the arguments or one list"),
    "floor": Function("floor(x)", 1, 1, numbers.floor, "the int below"),
    "ceil": Function("ceil(x)", 1, 1, numbers.ceil, "the int above"),
    "timestamp": Function(
        "timestamp(rfc3339)", 1, 1, times.timestamp, "ms since the epoch of a date with an offset"
    ),
    "format_time": Function(
        "format_time(ms)", 1, 1, times.format_time, "2024-01-31T12:00:00.000Z of ms since the epoch"
    ),
}
"""Name to function; the only names that may stand before a parenthesis."""
