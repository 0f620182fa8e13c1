"""The expression language of filters, maps, splits and windows.

    payload.age > 18 && payload.tier == "gold"
    "late" if now() - timestamp(created_at) > 60_000 else lower(coalesce(kind, "none"))

Values. Numbers (1, 1_000, 1.5, 1e3), strings in '...' or "..." with JSON's escapes, r"..." with
none, true/false/null (also True/False/None), lists [1, 2]. Fields: `payload.amount`,
`payload["odd-key"]`, `items[0]`, `items[-1]`, `$` for the event itself, so `$["odd-key"]` and
`$.from`. A name is a field unless a parenthesis follows it.

Operators, loosest first: `a if c else b`; `||` or; `&&` and; not; comparisons, `in`, `not in`
(chains such as 1 < a < 5 mean both); + -; * / // %; unary -; **; and `!`, which binds as tightly
as a sign: `!a == b` is `(!a) == b`, while `not a == b` is `not (a == b)`. `&&` and `||` give the
operand that decided; null, false, 0, "", [] and {} count as false.

Null. A field that is missing, or looked up in something without fields, reads as null. Null is
equal to null only; `<` `<=` `>` `>=` are false when a side is null. Arithmetic on null, and most
functions of null, raise EvaluationError: write coalesce(field, 0). See `functions.py`.

Types. Values of different types are never equal, except that 1 == 1.0; true is not 1, and a bool
is not a number. Ordering different types, arithmetic on what is not a number (+ also joins two
strings or two lists, * repeats one) and division by zero raise EvaluationError. Integers are
exact, / gives a float, // and % round down.

Functions: the table in `functions.py`. Bounds: `limits.py`.
"""

from .errors import EvaluationError, ExpressionError
from .expression import Expression, compile_expression, compile_path, parse_path, system_clock
from .functions import FUNCTIONS, Function
from .values import MISSING, Missing

__all__ = [
    "FUNCTIONS",
    "MISSING",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "Function",
    "Missing",
    "compile_expression",
    "compile_path",
    "parse_path",
    "system_clock",
]
