"""From the user's text to Python source that only the grammar's own words can appear in.

The text is cut into tokens from a closed alphabet, and each is written anew: names get a
prefix (so no name is a Python keyword or builtin), strings are decoded here and written as
ASCII literals, `&& || !` become their Python counterparts. `!` becomes `~`, which Python does
not otherwise get to see, as it binds as tightly as `!` does elsewhere: `!a == b` is `(!a) == b`.
"""

from __future__ import annotations

import bisect
import keyword
import re
from dataclasses import dataclass, field
from typing import Final

from .errors import ExpressionError
from .limits import MAX_DEPTH, MAX_NUMBER, MAX_TEXT

NAME_PREFIX: Final = "f_"
ROOT: Final = "root_"

_TOKEN: Final = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r"|(?P<string>r?['\"])"
    r"|(?P<number>[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<op>&&|\|\||==|!=|<=|>=|\*\*|//|[-<>*/%+!()\[\],.$])"
)
_WORDS: Final = {
    **{word: word for word in ("and", "or", "not", "in", "if", "else", "True", "False", "None")},
    "true": "True",
    "false": "False",
    "null": "None",
}
_OPERATOR_WORDS: Final = frozenset({"and", "or", "not", "in", "if", "else"})
_OPERATORS: Final = {"&&": "and", "||": "or", "!": "~", "$": ROOT}
_PREFIXES: Final = frozenset({"-", "+", "!", "not"})
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "/": "/"}
_HINTS: Final = {
    "=": "equality is ==",
    "&": "write && or and",
    "|": "write || or or",
    ":": "there are no slices and no assignment; use substr()",
    "?": "write a if condition else b",
    "{": "there are no objects or sets; lists are [1, 2]",
    "~": "negation is ! or not",
    "^": "power is **",
}
_NEVER_LAST: Final = _OPERATOR_WORDS | {
    *("&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", ".", ","),
    *("+", "-", "*", "/", "//", "%", "**"),
}
_CLOSES: Final = {")": "(", "]": "["}


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its Python form and where its original stands in the text (from 0)."""

    python: str
    original: str
    start: int


@dataclass(slots=True)
class Tokens:
    """A scanned expression.

    Attributes:
        text: the expression as given.
        items: the tokens in order.
        python: the same expression as Python source, one space between tokens, all ASCII.
    """

    text: str
    items: list[Token] = field(default_factory=list)
    python: str = ""
    _starts: list[int] = field(default_factory=list)

    def finish(self) -> Tokens:
        """Join the tokens; call it once, after the last."""
        at = 0
        for token in self.items:
            self._starts.append(at)
            at += len(token.python) + 1
        self.python = " ".join(token.python for token in self.items)
        return self

    def at(self, offset: int) -> Token | None:
        """The token at an offset of `python` (from 0), None past the end."""
        if not self.items or offset >= len(self.python):
            return None
        return self.items[max(0, bisect.bisect_right(self._starts, offset) - 1)]

    def column(self, offset: int) -> int:
        """The column in `text` (from 1) of an offset of `python` (from 0)."""
        token = self.at(offset)
        return len(self.text) + 1 if token is None else token.start + 1


def scan(text: str) -> Tokens:
    """Cut an expression into tokens.

    Args:
        text: the expression.

    Returns:
        Its tokens, with brackets balanced and no two operands side by side.

    Raises:
        ExpressionError: too long, a character, word or string that the language does not know.
    """
    if len(text) > MAX_TEXT:
        raise ExpressionError(
            text, MAX_TEXT + 1, f"an expression has at most {MAX_TEXT} characters"
        )
    tokens = Tokens(text)
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _bad_character(text, at)
        if match.lastgroup == "string":
            value, end = _string(text, at)
            tokens.items.append(Token(ascii(value), text[at:end], at))
        else:
            end = match.end()
            if match.lastgroup != "space":
                tokens.items.append(_plain(tokens, match, at))
        at = end
    if not tokens.items:
        raise ExpressionError(text, 1, "the expression is empty")
    _check_order(tokens)
    _check_brackets(tokens)
    return tokens.finish()


def _bad_character(text: str, at: int) -> ExpressionError:
    character = text[at]
    hint = _HINTS.get(character, "")
    if not character.isascii():
        hint = 'field names outside ASCII are written ["name"]'
    return ExpressionError(text, at + 1, f"unexpected character {character!r}", hint)


def _plain(tokens: Tokens, match: re.Match[str], at: int) -> Token:
    text, original = tokens.text, match.group()
    if match.lastgroup == "number":
        return Token(_number(text, original, at), original, at)
    if match.lastgroup == "op":
        return Token(_OPERATORS.get(original, original), original, at)
    if text[match.end() : match.end() + 1] in ("'", '"'):
        raise ExpressionError(
            text, at + 1, f"strings have no prefix {original!r}", 'only r"..." for patterns'
        )
    after_dot = bool(tokens.items) and tokens.items[-1].original == "."
    if not after_dot:
        if original in _WORDS:
            return Token(_WORDS[original], original, at)
        if keyword.iskeyword(original):
            raise _reserved(text, original, at)
    return Token(NAME_PREFIX + original, original, at)


def _reserved(text: str, word: str, at: int) -> ExpressionError:
    hint = {
        "is": "equality is ==, also with null",
        "for": "there are no comprehensions and no loops",
        "lambda": "there are no functions but the table's",
    }.get(word, f"a field of that name is $.{word}")
    return ExpressionError(text, at + 1, f"{word!r} is a reserved word", hint)


def _number(text: str, original: str, at: int) -> str:
    if len(original) > MAX_NUMBER:
        raise ExpressionError(text, at + 1, f"a number has at most {MAX_NUMBER} characters")
    following = text[at + len(original) : at + len(original) + 1]
    digits = original.replace("_", "")
    if following.isalnum() or following == "_" or original[-1] == "_" or "__" in original:
        raise ExpressionError(text, at + 1, "malformed number", "1, 1_000, 1.5, 1e3")
    if len(digits) > 1 and digits.isdigit() and digits[0] == "0":
        raise ExpressionError(text, at + 1, "malformed number", "no leading zeros")
    if not digits.isdigit() and float(digits) == float("inf"):
        raise ExpressionError(text, at + 1, "this number is too large for a float")
    return digits


def _string(text: str, at: int) -> tuple[str, int]:
    """The value of the string that starts at `at`, and where it ends."""
    raw = text[at] == "r"
    start = at + raw
    quote, i = text[start], start + 1
    out: list[str] = []
    while i < len(text):
        c = text[i]
        if c == quote:
            return _joined(text, "".join(out), at), i + 1
        if c != "\\":
            out.append(c)
            i += 1
        elif raw:
            # As in Python: a backslash stays, and shields the quote after it.
            out.append(text[i : i + 2])
            i += 2
        else:
            value, i = _escape(text, i)
            out.append(value)
    raise ExpressionError(text, at + 1, "this string has no end")


def _joined(text: str, value: str, at: int) -> str:
    """JSON writes characters beyond the first 65,536 as two escapes; make them one again."""
    try:
        return value.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ExpressionError(text, at + 1, "half a surrogate pair in this string") from None


def _escape(text: str, at: int) -> tuple[str, int]:
    kind = text[at + 1 : at + 2]
    if kind in _ESCAPES:
        return _ESCAPES[kind], at + 2
    digits = text[at + 2 : at + 6]
    if kind == "u" and re.fullmatch("[0-9a-fA-F]{4}", digits):
        return chr(int(digits, 16)), at + 6
    raise ExpressionError(
        text, at + 1, f"unknown escape \\{kind}", r'a backslash is \\, or use r"..." for patterns'
    )


def _is_operand_start(token: Token) -> bool:
    first = token.python[0]
    return first.isalnum() or first in "'\"_" if token.python not in _OPERATOR_WORDS else False


def _check_order(tokens: Tokens) -> None:
    """Refuse `a b` by name, and long runs of prefix operators before a parser recurses."""
    run = 0
    previous: Token | None = None
    for token in tokens.items:
        if previous is not None and _is_operand_start(token):
            ends = _is_operand_start(previous) or previous.python in (")", "]")
            if ends:
                message = f"expected an operator before {token.original}"
                raise ExpressionError(tokens.text, token.start + 1, message)
            if previous.python == "." and not token.python.startswith(NAME_PREFIX):
                raise ExpressionError(
                    tokens.text,
                    token.start + 1,
                    f"expected a field name after the dot, not {token.original}",
                    'fields are a.b or a["b c"], items a[0]',
                )
        run = run + 1 if token.original in _PREFIXES else 0
        if run > MAX_DEPTH:
            raise ExpressionError(tokens.text, token.start + 1, "too many signs in a row")
        previous = token
    if previous is not None and previous.original in _NEVER_LAST:
        end = len(tokens.text.rstrip()) + 1
        message = f"something is missing after {previous.original}"
        raise ExpressionError(tokens.text, end, message)


def _check_brackets(tokens: Tokens) -> None:
    opened: list[Token] = []
    for token in tokens.items:
        if token.python in ("(", "["):
            opened.append(token)
            if len(opened) > MAX_DEPTH:
                message = f"nested too deeply (at most {MAX_DEPTH} levels)"
                raise ExpressionError(tokens.text, token.start + 1, message)
        elif token.python in _CLOSES:
            if not opened or opened[-1].python != _CLOSES[token.python]:
                message = f"{token.original!r} closes nothing"
                raise ExpressionError(tokens.text, token.start + 1, message)
            opened.pop()
    if opened:
        message = f"{opened[-1].original!r} is never closed"
        raise ExpressionError(tokens.text, opened[-1].start + 1, message)
