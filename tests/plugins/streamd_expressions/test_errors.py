"""What is refused at compile time, where the caret is, and what is suggested."""

from __future__ import annotations

import pickle

import pytest

from streamd_expressions import EvaluationError, ExpressionError, compile_expression


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "empty"),
        (" \n", 1, "empty"),
        ("a &&", 5, "something is missing after &&"),
        ("a + ", 4, "something is missing after +"),
        ("a if b", 1, "an if without its else"),
        ("a == == b", 6, "unexpected =="),
        ("&& a", 1, "unexpected &&"),
        ("a..b", 3, "unexpected ."),
        ("a = 1", 3, "equality is =="),
        ("a & b", 3, "write &&"),
        ("a | b", 3, "write ||"),
        ("a ? b : c", 3, "write a if condition else b"),
        ("{'a': 1}", 1, "there are no objects"),
        ("a[1:2]", 4, "substr()"),
        ("~a", 1, "negation is !"),
        ("a ^ 2", 3, "power is **"),
        ("a; b", 2, "unexpected character ';'"),
        ("payload.é", 9, '["name"]'),
        ("a b", 3, "expected an operator before b"),
        ("a 'b'", 3, "expected an operator before 'b'"),
        ("'é' + 'é' b", 11, "expected an operator before b"),
        ("(a + 1)(b)", 2, "only functions"),
        ("items.0", 7, "items a[0]"),
        ("payload.[0]", 9, "unexpected ["),
        ("1.a", 1, "a literal has no fields"),
        ("'a'.b", 1, "a literal has no fields"),
        ("(a", 1, "'(' is never closed"),
        ("len(a]", 6, "']' closes nothing"),
        ("a)", 2, "')' closes nothing"),
        ("a == 'x", 6, "this string has no end"),
        (r"a == '\d'", 7, "unknown escape"),
        (r"a == '\ud800'", 6, "half a surrogate pair"),
        ("f'x'", 1, "strings have no prefix 'f'"),
        ("1x", 1, "malformed number"),
        ("0x10", 1, "malformed number"),
        ("1__0", 1, "malformed number"),
        ("007", 1, "no leading zeros"),
        ("1e999", 1, "too large for a float"),
        ("9" * 65, 1, "at most 64 characters"),
        ("a is null", 3, "equality is =="),
        ("lambda", 1, "no functions but"),
        ("from == 1", 1, "$.from"),
        ("a > 1 && lenght(b) > 2", 10, "did you mean len"),
        ("to_upper(a)", 1, "did you mean upper"),
        ("a && zzz(b)", 6, "unknown function zzz"),
        ("payload.name.lower()", 14, "write lower(text)"),
        ("payload.name.strip()", 14, "values have no methods"),
        ("1 + len(a, b)", 5, "len() does not take 2 arguments (write len(x))"),
        ("round()", 1, "write round(x[, digits])"),
        ("exists(lower(a))", 8, "expected a field path"),
        ("exists('a')", 8, "expected a field path"),
        ("a && matches(b, c)", 17, "the pattern of matches() is a literal string"),
        ("matches(b, '(')", 12, "malformed pattern"),
        ("items[a]", 7, "only a literal string or integer"),
        ("items[1.5]", 7, "only a literal string or integer"),
        ("items[-'a']", 7, "only a literal string or integer"),
        ("a[1, 2]", 3, "there are no tuples"),
        ("(a, b)", 1, "there are no tuples"),
        ("1 + 'a'", 1, "cannot add int and string"),
        ("a > 1 / 0", 5, "division by zero"),
        ("timestamp('yesterday')", 1, "RFC 3339"),
        ("a +\n  zzz(b)", 7, "unknown function zzz"),
    ],
)
def test_column_and_message(text: str, column: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert message in f"{caught.value.message} ({caught.value.hint})"
    assert caught.value.column == column
    assert caught.value.text == text


def test_the_caret_is_under_the_fault() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression("a > 1\n\t&& lenght(b) > 2")
    assert str(caught.value).splitlines() == [
        "unknown function lenght (did you mean len?) at column 11",
        "   && lenght(b) > 2",
        "      ^",
    ]


def test_a_long_line_is_cut_around_the_fault() -> None:
    text = "a + " * 40 + "zzz(b)" + " + a" * 5
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    _, line, caret = str(caught.value).splitlines()
    assert len(line) < 120
    assert line[caret.index("^") :].startswith("zzz(b)")


def test_errors_survive_pickling() -> None:
    error = ExpressionError("a b", 3, "message", "hint")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    failure = EvaluationError("message", "a + b")
    assert str(pickle.loads(pickle.dumps(failure))) == "message, in the expression: a + b"
    assert str(EvaluationError("message", "a " * 200)).endswith("...")
    assert str(EvaluationError("message")) == "message"
