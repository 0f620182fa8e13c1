"""Random text never breaks the compiler; random expressions agree with a second evaluator.

The second evaluator walks a tree of its own, written from the documentation: it shares no code
with the compiler, so that both would have to make the same mistake.
"""

from __future__ import annotations

import contextlib
import operator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd_expressions import (
    FUNCTIONS,
    EvaluationError,
    ExpressionError,
    compile_expression,
    compile_path,
)

Tree = tuple[Any, ...]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, 1.0, 1.5, 2.0**60])
    | st.integers(2**60, 2**60 + 1)
    | st.sampled_from(["", "a", "b", "ab"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
)
EVENTS = st.dictionaries(st.sampled_from("abc"), JSON)
PIECES = st.sampled_from(
    [
        *FUNCTIONS,
        *"()[]()[].,+-*/%!$'\"\\ \n=&|:{}x09",
        *("a", "a.b", "'s'", "1", "1.5", "null", "true", "__class__", "lambda", "for"),
        *(" and ", " or ", " not ", " in ", " if ", " else ", "&&", "||", "**", "//", "==", "<="),
        *('r"', "é", "\\u00e9"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60) | st.lists(PIECES, max_size=12).map("".join), EVENTS)
def test_random_text(text: str, event: dict[str, Any]) -> None:
    for make in (compile_expression, compile_path):
        try:
            function = make(text)
        except ExpressionError as error:
            fault = error
        else:
            with contextlib.suppress(EvaluationError):
                function(event)
            continue
        assert 1 <= fault.column <= len(text) + 1
        assert "^" in str(fault)


class UnfitError(Exception):
    """The second evaluator's EvaluationError."""


BINARY = ["+", "-", "*", "/", "//", "%"]
ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
SCALARS = st.sampled_from([None, True, False, 0, 1, 2, 1.0, 1.5, "", "a", "ab"])


def trees() -> st.SearchStrategy[Tree]:
    leaf = st.tuples(st.just("constant"), SCALARS) | st.tuples(
        st.just("path"), st.lists(st.sampled_from(["a", "b", "c", 0, -1]), max_size=3)
    )

    def grow(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        comparators = st.sampled_from([*ORDER, "==", "!=", "in", "not in"])
        links = st.lists(st.tuples(comparators, inner), min_size=1, max_size=2)
        return (
            st.tuples(st.just("binary"), st.sampled_from(BINARY), inner, inner)
            | st.tuples(st.just("logic"), st.sampled_from(["&&", "||"]), inner, inner)
            | st.tuples(st.just("not"), inner)
            | st.tuples(st.just("negative"), inner)
            | st.tuples(st.just("compare"), inner, links)
            | st.tuples(st.just("if"), inner, inner, inner)
            | st.tuples(st.just("list"), st.lists(inner, max_size=3))
            | st.tuples(st.just("coalesce"), st.lists(inner, min_size=1, max_size=3))
            | st.tuples(st.just("exists"), st.lists(st.sampled_from(["a", "b", 0]), max_size=3))
        )

    return st.recursive(leaf, grow, max_leaves=8)


def path_text(path: list[Any]) -> str:
    return "$" + "".join(f"[{part!r}]" for part in path)


def text_of(tree: Tree) -> str:
    kind, *parts = tree
    match kind:
        case "constant":
            words = {None: "null", True: "true", False: "false"}
            value = parts[0]
            return words[value] if value is None or isinstance(value, bool) else repr(value)
        case "path":
            return path_text(parts[0])
        case "exists":
            return f"exists({path_text(parts[0])})"
        case "binary" | "logic":
            return f"({text_of(parts[1])} {parts[0]} {text_of(parts[2])})"
        case "not":
            return f"!({text_of(parts[0])})"
        case "negative":
            return f"-({text_of(parts[0])})"
        case "compare":
            links = "".join(f" {op} ({text_of(right)})" for op, right in parts[1])
            return f"(({text_of(parts[0])}){links})"
        case "if":
            test, then, otherwise = map(text_of, parts)
            return f"({then} if {test} else {otherwise})"
        case "list":
            return f"[{', '.join(map(text_of, parts[0]))}]"
    return f"coalesce({', '.join(map(text_of, parts[0]))})"


def find(path: list[Any], event: Any) -> tuple[bool, Any]:
    for part in path:
        if isinstance(part, str) and isinstance(event, dict) and part in event:
            event = event[part]
        elif isinstance(part, int) and isinstance(event, list):
            try:
                event = event[part]
            except IndexError:
                return False, None
        else:
            return False, None
    return True, event


def numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(a: Any, b: Any) -> bool:
    if numeric(a) and numeric(b):
        return bool(a == b)
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return bool(a == b)


def within(item: Any, container: Any) -> bool:
    if container is None:
        return False
    if isinstance(container, list):
        return any(equal(item, each) for each in container)
    if isinstance(container, dict):
        return isinstance(item, str) and item in container
    if isinstance(container, str) and (item is None or isinstance(item, str)):
        return item is not None and item in container
    raise UnfitError


def relation(op: str, a: Any, b: Any) -> bool:
    match op:
        case "==":
            return equal(a, b)
        case "!=":
            return not equal(a, b)
        case "in":
            return within(a, b)
        case "not in":
            return not within(a, b)
    if a is None or b is None:
        return False
    if (numeric(a) and numeric(b)) or (isinstance(a, str) and isinstance(b, str)):
        return bool(ORDER[op](a, b))
    raise UnfitError


def arithmetic(op: str, a: Any, b: Any) -> Any:
    if numeric(a) and numeric(b):
        try:
            return {
                "+": operator.add,
                "-": operator.sub,
                "*": operator.mul,
                "/": operator.truediv,
                "//": operator.floordiv,
                "%": operator.mod,
            }[op](a, b)
        except ZeroDivisionError:
            raise UnfitError from None
    if op == "+" and type(a) is type(b) and isinstance(a, str | list):
        return a + b
    if op == "*":
        a, b = (b, a) if isinstance(b, str | list) else (a, b)
        if isinstance(a, str | list) and type(b) is int:
            bounded = len(a) * b <= 10_000
            flat = isinstance(a, str) or not any(isinstance(x, list | dict) for x in a)
            if bounded and flat:
                return a * b
    raise UnfitError


def second(tree: Tree, event: Any) -> Any:
    kind, *parts = tree
    match kind:
        case "constant":
            return parts[0]
        case "path":
            return find(parts[0], event)[1]
        case "exists":
            return find(parts[0], event)[0]
        case "binary":
            return arithmetic(parts[0], second(parts[1], event), second(parts[2], event))
        case "logic":
            left = second(parts[1], event)
            return left if bool(left) is (parts[0] == "||") else second(parts[2], event)
        case "not":
            return not second(parts[0], event)
        case "negative":
            value = second(parts[0], event)
            if numeric(value):
                return -value
            raise UnfitError
        case "compare":
            left = second(parts[0], event)
            for op, right in parts[1]:
                value = second(right, event)
                if not relation(op, left, value):
                    return False
                left = value
            return True
        case "if":
            return second(parts[1] if second(parts[0], event) else parts[2], event)
        case "list":
            return [second(item, event) for item in parts[0]]
    for item in parts[0]:
        value = second(item, event)
        if value is not None:
            return value
    return None


@settings(max_examples=600, deadline=None)
@given(trees(), EVENTS)
def test_random_expressions_agree_with_a_second_evaluator(tree: Tree, event: Any) -> None:
    text = text_of(tree)
    before = repr(event)
    try:
        expected = second(tree, event)
    except UnfitError:
        # What is wrong with constants alone is already refused by the compiler.
        with pytest.raises((EvaluationError, ExpressionError)):
            compile_expression(text).evaluate(event)
    else:
        try:
            expression = compile_expression(text)
        except ExpressionError:
            return  # constants that do not fit, on a branch that this event does not take
        value = expression.evaluate(event)
        assert equal(value, expected)
        assert type(value) is type(expected)
        assert expression.filter_indices([event]) == ([0] if expected else [])
    assert repr(event) == before
