"""What every function of the table gives: call, value."""

from __future__ import annotations

from typing import Any

import pytest

from streamd_expressions import FUNCTIONS, compile_expression
from tests.plugins.streamd_expressions.event import EVENT

CALLS: dict[str, list[tuple[str, Any]]] = {
    "exists": [
        ("exists(payload.age)", True),
        ("exists(payload.nothing)", True),
        ("exists(payload.zzz)", False),
        ("exists(absent.deeper)", False),
        ("exists(items[1])", True),
        ("exists(items[2])", False),
        ("exists($)", True),
    ],
    "missing": [("missing(payload.age)", False), ("missing(absent.deeper[0].x)", True)],
    "len": [("len(payload.tier)", 4), ("len(items)", 2), ("len(payload.class)", 1)],
    "lower": [("lower('ÀB')", "àb")],
    "upper": [("upper(payload.tier)", "GOLD")],
    "trim": [("trim('  a ')", "a")],
    "contains": [
        ("contains(payload.tier, 'ol')", True),
        ("contains(tags, 'z')", False),
        ("contains(absent, 'z')", False),
    ],
    "startswith": [("startswith(payload.tier, 'go')", True), ("startswith(absent, 'a')", False)],
    "endswith": [("endswith(payload.tier, 'go')", False), ("endswith(absent, 'a')", False)],
    "matches": [
        (r"matches(payload.tier, r'^g\w+d$')", True),
        ("matches(payload.tier, 'ol')", True),
        ("matches(payload.tier, '^ol')", False),
        ("matches(absent, 'a')", False),
        ("matches(payload.tier, '^G' + 'o') || matches(payload.tier, '(?i)GO')", True),
    ],
    "replace": [("replace('a-b-c', '-', '')", "abc")],
    "split": [("split('a,b,,', ',')", ["a", "b", "", ""])],
    "join": [("join(tags, '-')", "a-b"), ("join([1, true, 1.5], ',')", "1,true,1.5")],
    "concat": [("concat(payload.tier, ':', payload.age, true)", "gold:30true")],
    "substr": [
        ("substr('abcdef', 2)", "cdef"),
        ("substr('abcdef', 1, 2)", "bc"),
        ("substr('abcdef', -2)", "ef"),
        ("substr('abcdef', -9, 2)", "ab"),
        ("substr('abc', 9)", ""),
    ],
    "int": [
        ("int('12')", 12),
        ("int(' -7 ')", -7),
        ("int(-3.9)", -3),
        ("int(true)", 1),
        ("int(price)", 1),
    ],
    "float": [("float('1.5e1')", 15.0), ("float(2)", 2.0), ("float(false)", 0.0)],
    "str": [
        ("str(1)", "1"),
        ("str(1.5)", "1.5"),
        ("str(true)", "true"),
        ("str('a')", "a"),
        ("str(at)", "2024-01-31T12:00:00+00:00"),
        ("str(price)", "1.10"),
    ],
    "bool": [
        ("bool('TRUE')", True),
        ("bool('false')", False),
        ("bool(absent)", False),
        ("bool(0.0)", False),
        ("bool(2)", True),
        ("bool(true)", True),
    ],
    "round": [("round(2.5)", 2), ("round(1.256, 2)", 1.26), ("round(1250, -2)", 1200)],
    "abs": [("abs(-3)", 3)],
    "min": [("min(3, 1, 2)", 1), ("min(['b', 'a'])", "a"), ("min([])", None), ("min(4)", 4)],
    "max": [("max(3, 10.5, 2)", 10.5), ("max(tags)", "b")],
    "floor": [("floor(-1.5)", -2), ("floor(big)", 2**60 + 1)],
    "ceil": [("ceil(1.2)", 2)],
    "coalesce": [
        ("coalesce(absent, payload.nothing, 5)", 5),
        ("coalesce(payload.age, 1 / empty)", 30),
        ("coalesce(absent)", None),
        ("coalesce(payload.nothing, false, 1)", False),
    ],
    "timestamp": [
        ("timestamp('1970-01-01T00:00:01Z')", 1000),
        ("timestamp('2024-01-31T12:00:00.1239+01:00')", 1706698800123),
        ("timestamp('1969-12-31t23:59:59.999999999z')", -1),
        ("timestamp(at)", 1706702400000),
    ],
    "format_time": [
        ("format_time(0)", "1970-01-01T00:00:00.000Z"),
        ("format_time(timestamp('2024-02-29T23:59:59.5Z'))", "2024-02-29T23:59:59.500Z"),
        ("format_time(-1)", "1969-12-31T23:59:59.999Z"),
    ],
    "now": [("now()", 1234), ("now() - 1000", 234)],
    "sha256": [
        (
            "sha256('abc')",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        )
    ],
    "md5": [
        ("md5('abc')", "900150983cd24fb0d6963f7d28e17f72"),
        ("md5(blob)", "d16fb36f0911f878998c136191af705e"),
    ],
    "type": [
        ("type(absent)", "null"),
        ("type(payload.flag)", "bool"),
        ("type(1)", "int"),
        ("type(1.5)", "float"),
        ("type('a')", "string"),
        ("type(items)", "list"),
        ("type(payload)", "object"),
        ("type(at)", "datetime"),
    ],
    "keys": [("keys(items[0])", ["id"])],
    "first": [("first(tags)", "a"), ("first([])", None), ("first(absent)", None)],
    "last": [("last(tags)", "b")],
}


@pytest.mark.parametrize(("text", "expected"), [row for rows in CALLS.values() for row in rows])
def test_value(text: str, expected: Any) -> None:
    expression = compile_expression(text, clock=lambda: 1234)
    value = expression.evaluate(EVENT)
    assert value == expected
    assert type(value) is type(expected)
    assert expression.map_values([EVENT]) == [expected]
    assert expression.filter_indices([EVENT]) == ([0] if expected else [])


def test_every_function_has_rows() -> None:
    assert set(CALLS) == set(FUNCTIONS)
