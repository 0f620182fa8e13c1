"""What literals, fields and operators give, as tables: expression, value."""

from __future__ import annotations

import decimal
from typing import Any

import pytest

from streamd_expressions import compile_expression
from tests.plugins.streamd_expressions.event import EVENT

LITERALS = [
    ("1", 1),
    ("1_000", 1000),
    ("1.5", 1.5),
    ("1e3", 1000.0),
    ("-2", -2),
    ("'it'", "it"),
    (r'"a\n\"\u00e9\\"', 'a\n"é\\'),
    (r'"\ud83d\ude00"', "\U0001f600"),
    (r'r"\d+"', r"\d+"),
    ('"é✓"', "é✓"),
    ("true", True),
    ("True", True),
    ("false", False),
    ("null", None),
    ("None", None),
    ("[1, 'a', [null]]", [1, "a", [None]]),
    ("[]", []),
]
FIELDS = [
    ("payload.age", 30),
    ('payload["odd-key"]', 7),
    ("payload.class.from", "a keyword"),
    ("payload.__typename", "Order"),
    ("items[0].id", 1),
    ("items[-1].id", 2),
    ("items[5].id", None),
    ("items[-3]", None),
    ("items.id", None),
    ("tags['0']", None),
    ("payload[0]", None),
    ("payload.age.deeper.still", None),
    ("absent", None),
    ("payload.nothing", None),
    ('$["né"]', "accent"),
    ("$.payload.age", 30),
    ("$ == $", True),
    ("len", None),
    ("first(items).id", 1),
    ("split('a,b', ',')[1]", "b"),
    ("(payload).age", 30),
]
LOGIC = [
    ("true && false", False),
    ("true || false", True),
    ("!true", False),
    ("not false and true or false", True),
    ("!payload.flag == false", True),
    ("not payload.flag == false", True),
    ("!payload.age == 30", False),
    ("not payload.age == 31", True),
    ("!!payload.age", True),
    ("payload.tier || 'none'", "gold"),
    ("absent || 'none'", "none"),
    ("absent && payload.amount / 0", None),
    ("payload.age > 18\n  && payload.tier == 'gold'", True),
    ("'adult' if payload.age >= 18 else 'minor'", "adult"),
    ("1 if absent else 2 if empty else 3", 3),
]
COMPARISONS = [
    ("payload.age == 30", True),
    ("payload.age == 30.0", True),
    ("payload.age != 30", False),
    ("payload.flag == 1", False),
    ("payload.flag != 1", True),
    ("1 == payload.flag", False),
    ("payload.flag == true", True),
    ("[true] == [1]", False),
    ("[1, [2]] == [1.0, [2]]", True),
    ("payload.age == '30'", False),
    ("payload.nothing == null", True),
    ("absent == null", True),
    ("absent != null", False),
    ("absent == payload.nothing", True),
    ("0 == false", False),
    ("0 == null", False),
    ("'a' == true", False),
    ("null == null != 1", True),
    ("payload == payload", True),
    ("payload.age > 18", True),
    ("18 < payload.age", True),
    ("payload.age >= 30.5", False),
    ("payload.tier < 'h'", True),
    ("price > 1", True),
    ("price == 1.5", False),
    ("at <= at", True),
    ("blob < blob", False),
    ("absent < 1", False),
    ("absent >= 1", False),
    ("1 < absent", False),
    ("absent <= absent", False),
    ("absent < 'x'", False),
    ("18 < payload.age <= 30", True),
    ("18 < payload.age * 2 < 50", False),
    ("1 < 2 < 3 == 3", True),
    ("big == 1152921504606846977", True),
    ("big == 1152921504606846976", False),
]
MEMBERSHIP = [
    ("payload.tier in ['gold', 'silver']", True),
    ("payload.tier not in ['gold', 'silver']", False),
    ("payload.age in [1, 30]", True),
    ("payload.age in [2, 30.0]", True),
    ("payload.flag in [0, 1]", False),
    ("payload.flag in [true]", True),
    ("absent in ['a']", False),
    ("absent in [null]", True),
    ("items in ['a', 'b']", False),
    ("payload.tier in ['1','2','3','4','5','6','7','8','gold']", True),
    ("items in ['1','2','3','4','5','6','7','8','9']", False),
    ("'ol' in payload.tier", True),
    ("'age' in payload", True),
    ("1 in payload", False),
    ("'a' in tags", True),
    ("items[0] in items", True),
    ("'a' in absent", False),
    ("'a' not in absent", True),
    ("absent in payload.tier", False),
    ("'x' in []", False),
]
ARITHMETIC = [
    ("payload.age + 1", 31),
    ("1 + 2 * 3", 7),
    ("(1 + 2) * 3", 9),
    ("7 / 2", 3.5),
    ("6 / 2", 3.0),
    ("-7 // 2", -4),
    ("-7 % 3", 2),
    ("7.5 // 2", 3.0),
    ("2 ** 10", 1024),
    ("2 ** -1", 0.5),
    ("-2 ** 2", -4),
    ("2 ** 3 ** 2", 512),
    ("-payload.age", -30),
    ("+payload.age", 30),
    ("big * 2 + 1", 2**61 + 3),
    ("payload.amount * 2", 41.0),
    ("price * 2", decimal.Decimal("2.20")),
    ("'a' + 'b'", "ab"),
    ("tags + ['c']", ["a", "b", "c"]),
    ("'ab' * 2", "abab"),
    ("2 * 'ab'", "abab"),
    ("'ab' * -1", ""),
    ("[0] * 3", [0, 0, 0]),
    ("payload.age - 0.5", 29.5),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *LITERALS,
        *FIELDS,
        *LOGIC,
        *COMPARISONS,
        *MEMBERSHIP,
        *ARITHMETIC,
    ],
)
def test_value(text: str, expected: Any) -> None:
    expression = compile_expression(text, clock=lambda: 1234)
    value = expression.evaluate(EVENT)
    assert value == expected
    assert type(value) is type(expected)
    assert expression.map_values([EVENT]) == [expected]
    assert expression.filter_indices([EVENT]) == ([0] if expected else [])
