"""Events that do not fit: the messages, and what a batch does with them. The clock."""

from __future__ import annotations

from typing import Any

import pytest

from streamd_expressions import EvaluationError, compile_expression
from tests.plugins.streamd_expressions.event import EVENT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("absent + 1", "cannot add null and int"),
        ("payload.flag + 1", "cannot add bool and int"),
        ("payload.age + '1'", "cannot add int and string"),
        ("payload.tier - 1", "cannot subtract string and int"),
        ("payload.tier * payload.tier", "cannot multiply string and string"),
        ("payload.tier % 5", "cannot divide string and int"),
        ("price + 1.5", "cannot add decimal and float"),
        ("payload.age / 0", "division by zero"),
        ("payload.age // (payload.age - 30)", "division by zero"),
        ("-payload.tier", "cannot negate string"),
        ("-payload.flag", "cannot negate bool"),
        ("+absent", "cannot take + of null"),
        ("payload.tier > 5", "cannot order (>) string and int"),
        ("payload.flag < 5", "cannot order (<) bool and int"),
        ("payload.flag < payload.flag", "cannot order (<) bool and bool"),
        ("payload >= 5", "cannot order (>=) object and int"),
        ("at < blob", "cannot order (<) datetime and bytes"),
        ("1 in payload.age", "cannot look for int in int"),
        ("1 in payload.tier", "cannot look for int in string"),
        ("payload.age ** 5000", "an exponent is at most 1024"),
        ("payload.age ** 1000", "an integer result has at most 4096 bits"),
        ("payload.amount ** 1000", "the result is too large for a float"),
        ("(0 - payload.age) ** 0.5", "a negative number has no fractional power"),
        ("payload.tier * 100000", "the result would have 400000 characters; at most 65536"),
        ("tags * 100000", "the result would have 200000 items; at most 10000"),
        ("items * 2", "only lists of numbers, strings, bools and nulls can be repeated"),
        ("tags * 1.5", "cannot multiply list and float"),
        ("lower(absent)", "lower() needs a string, got null"),
        ("len(payload.age)", "len() needs a string, list or object, got int"),
        ("startswith(payload.age, 'a')", "startswith() needs a string, got int"),
        ("matches(payload.age, 'a')", "matches() needs a string, got int"),
        ("matches(payload.tier * 2000, 'a')", "matches() takes at most 4096 characters, got 8000"),
        ("replace(payload.tier, empty, 'a')", "replace() cannot replace an empty string"),
        (
            "replace(payload.tier * 9000, 'gold', 'gold' * 9000)",
            "the result would have 324000000 characters; at most 1048576",
        ),
        ("split(payload.tier, empty)", "split() needs a separator"),
        ("join(payload, ',')", "join() needs a list, got object"),
        ("join(items, ',')", "cannot make a string of object"),
        ("concat('a', absent)", "cannot make a string of null"),
        ("substr(payload.tier, 0, -1)", "substr() needs a length of 0 or more"),
        ("substr(payload.tier, 1.5)", "substr() needs integers"),
        ("int(payload.tier)", "int() needs text of digits"),
        ("int(absent)", "int() needs a number or text, got null"),
        ("float('nan' + empty)", "float() needs text of a decimal number"),
        ("float('1e999' + empty)", "float() of a number that is not finite"),
        ("float(big ** 60)", "float() of a number too large"),
        ("bool(payload.tier)", "bool() needs"),
        ("bool(items)", "bool() needs a bool, number or text, got list"),
        ("round(payload.amount, 99)", "round() needs digits from -15 to 15"),
        ("abs(payload.flag)", "abs() needs a number, got bool"),
        ("min(1, absent)", "min() cannot compare null"),
        ("max(payload.tier, 1)", "cannot order (>) int and string"),
        ("min([payload.flag])", "cannot order (<) bool and bool"),
        ("min(payload.tier)", "min() needs a number, got string"),
        ("timestamp(payload.age)", "timestamp() needs a string, got int"),
        ("timestamp(payload.tier)", "timestamp() needs an RFC 3339 time"),
        ("timestamp('2024-01-31T12:00:00' + empty)", "timestamp() needs an RFC 3339 time"),
        ("timestamp('2024-02-30T12:00:00Z' + empty)", "timestamp() of a time that does not exist"),
        ("format_time(payload.amount)", "format_time() needs ms as an int, got float"),
        ("format_time(big)", "format_time() of a time outside the years 1 to 9999"),
        ("sha256(payload.age)", "sha256() needs a string, got int"),
        ("keys(tags)", "keys() needs an object, got list"),
        ("first(payload)", "first() needs a list, got object"),
    ],
)
def test_evaluation_error(text: str, message: str) -> None:
    expression = compile_expression(text)
    with pytest.raises(EvaluationError) as caught:
        expression.evaluate(EVENT)
    assert message in caught.value.message
    assert text in str(caught.value)


def test_the_clock_is_asked_unless_the_time_is_given() -> None:
    expression = compile_expression("now()", clock=lambda: 7)
    assert expression.evaluate({}) == 7
    assert expression.evaluate({}, now_ms=9) == 9
    assert expression({}, 9) == 9
    assert expression.map_values([1, 2], now_ms=3) == [3, 3]
    assert compile_expression("now()").evaluate({}) > 1_700_000_000_000


def test_a_batch_notes_the_rows_that_do_not_fit() -> None:
    values = [{"n": 5}, {"n": "x"}, {}, {"n": 0}]
    errors: dict[int, str] = {}
    assert compile_expression("n + 1 > 1").filter_indices(values, errors=errors) == [0]
    assert errors == {
        1: "cannot add string and int, in the expression: n + 1 > 1",
        2: "cannot add null and int, in the expression: n + 1 > 1",
    }
    assert compile_expression("n + n").map_values(values, errors={}) == [10, "xx", None, 0]
    with pytest.raises(EvaluationError, match="cannot add"):
        compile_expression("n + 1").filter_indices(values)


def test_an_error_inside_a_value_is_an_evaluation_error() -> None:
    class Hostile:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no")

        __hash__ = None  # type: ignore[assignment]

    deep: Any = []
    other: Any = []
    for _ in range(5000):
        deep, other = [deep], [other]
    expression = compile_expression("a == b")
    with pytest.raises(EvaluationError, match="RuntimeError: no"):
        expression.evaluate({"a": Hostile(), "b": "x"})
    with pytest.raises(EvaluationError, match="nested too deeply"):
        expression.evaluate({"a": deep, "b": other})
