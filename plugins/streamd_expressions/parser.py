"""From text to a Python syntax tree, with every fault at a column of the text."""

from __future__ import annotations

import ast
import keyword
from dataclasses import dataclass
from typing import Final

from .errors import ExpressionError
from .limits import MAX_DEPTH
from .tokens import NAME_PREFIX, ROOT, Tokens, scan

Path = tuple[str | int, ...]
"""Names and list indices, from the event inwards; () is the event itself."""

# What the rest of Python can still be spelt with the tokens that are left.
_REFUSED: Final[dict[type[ast.AST], str]] = {
    ast.Tuple: "there are no tuples; lists are [1, 2]",
    ast.Starred: "there is no unpacking",
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """A syntax tree and the text it came from.

    Attributes:
        tokens: the scanned text.
        body: the tree; not checked against the grammar beyond what `parse` says.
    """

    tokens: Tokens
    body: ast.expr

    def error(self, node: ast.expr, message: str, hint: str = "") -> ExpressionError:
        """An error whose caret is under the start of `node`."""
        column = self.tokens.column(node.col_offset)
        return ExpressionError(self.tokens.text, column, message, hint)

    def error_after_dot(self, node: ast.Attribute, message: str, hint: str = "") -> ExpressionError:
        """An error whose caret is under the name after the dot."""
        end = node.end_col_offset or 0
        column = self.tokens.column(end - len(node.attr))
        return ExpressionError(self.tokens.text, column, message, hint)


def parse(text: str) -> Parsed:
    """Parse an expression.

    Args:
        text: the expression.

    Returns:
        Its tree, at most MAX_DEPTH deep, made of Python's expression nodes.

    Raises:
        ExpressionError: the text is not one well-formed expression.
    """
    tokens = scan(text)
    try:
        body = ast.parse(tokens.python, mode="eval").body
    except SyntaxError as error:
        raise _syntax_error(tokens, error) from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError(text, 1, "this expression is too deep or too large") from None
    parsed = Parsed(tokens, body)
    _check_nodes(parsed)
    return parsed


def _syntax_error(tokens: Tokens, error: SyntaxError) -> ExpressionError:
    offset = (error.offset or 1) - 1
    if "else" in error.msg:
        column = tokens.column(offset)
        message, hint = "an if without its else", "write a if condition else b"
        return ExpressionError(tokens.text, column, message, hint)
    token = tokens.at(offset)
    if token is None:
        column = len(tokens.text.rstrip()) + 1
        return ExpressionError(tokens.text, column, "the expression stops in the middle")
    return ExpressionError(tokens.text, token.start + 1, f"unexpected {token.original}")


def _check_nodes(parsed: Parsed) -> None:
    """Bound the depth before anything recurses into the tree."""
    todo: list[tuple[ast.AST, int]] = [(parsed.body, 1)]
    while todo:
        node, depth = todo.pop()
        if isinstance(node, ast.expr):
            if depth > MAX_DEPTH:
                raise parsed.error(node, f"nested too deeply (at most {MAX_DEPTH} levels)")
            if type(node) in _REFUSED:
                raise parsed.error(node, _REFUSED[type(node)])
            depth += 1
        todo.extend((child, depth) for child in ast.iter_child_nodes(node))


def path_of(parsed: Parsed, node: ast.expr) -> Path | None:
    """The field path that a node spells, None when it is something else.

    Args:
        parsed: the expression, for the errors.
        node: any node of it.

    Returns:
        The path.

    Raises:
        ExpressionError: it looks like a path but has a name or index that is refused.
    """
    parts: list[str | int] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            parts.append(field_name(parsed, node))
        elif isinstance(node, ast.Subscript):
            parts.append(subscript(parsed, node))
        else:
            return None
        node = node.value
    if node.id != ROOT:
        parts.append(_allowed(parsed, node, node.id.removeprefix(NAME_PREFIX)))
    return tuple(reversed(parts))


def field_name(parsed: Parsed, node: ast.Attribute) -> str:
    """The field that `node` (a dot and a name) looks up.

    Raises:
        ExpressionError: a dunder name.
    """
    name = node.attr.removeprefix(NAME_PREFIX)
    if is_dunder(name):
        raise parsed.error_after_dot(node, _DUNDER.format(name))
    return name


def subscript(parsed: Parsed, node: ast.Subscript) -> str | int:
    """The field or index that `node` (square brackets) looks up.

    Raises:
        ExpressionError: anything but a literal string or integer, or a dunder name.
    """
    index = node.slice
    sign = 1
    if isinstance(index, ast.UnaryOp) and isinstance(index.op, ast.USub):
        index, sign = index.operand, -1
    value = index.value if isinstance(index, ast.Constant) else None
    if type(value) is int:
        return sign * value
    if type(value) is str and sign == 1:
        return _allowed(parsed, index, value)
    raise parsed.error(node.slice, "only a literal string or integer goes in [ ]")


def is_dunder(name: str) -> bool:
    """Whether a name is one of Python's own, which no field may have here."""
    return name.startswith("__") and name.endswith("__")


def is_plain(name: str) -> bool:
    """Whether a name may stand after a dot in generated Python code."""
    return (
        name.isascii()
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("__")
    )


_DUNDER: Final = "{!r} is not a field name: names between double underscores are refused"


def _allowed(parsed: Parsed, node: ast.expr, name: str) -> str:
    if is_dunder(name):
        raise parsed.error(node, _DUNDER.format(name))
    return name
