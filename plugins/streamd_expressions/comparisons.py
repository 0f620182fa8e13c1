"""Generating code for comparisons: the usual case inline, the rest through `operators.py`."""

from __future__ import annotations

import ast
from typing import Final

from . import nodes
from .paths import Reader

_ORDER: Final[dict[type[ast.cmpop], str]] = {
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
}
_MIRROR: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.Gt,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.GtE: ast.LtE,
    ast.Eq: ast.Eq,
    ast.NotEq: ast.NotEq,
}
_SMALL: Final = 8  # a longer list of strings is looked up by hash


def comparison(reader: Reader, left: ast.expr, op: ast.cmpop, right: ast.expr) -> ast.expr:
    """Code for one comparison, a bool.

    Args:
        reader: gives temporaries.
        left: code for the left side, used once.
        op: one of == != < <= > >= in, not in.
        right: code for the right side, used once.
    """
    if isinstance(left, ast.Constant) and type(op) in _MIRROR:
        left, op, right = right, _MIRROR[type(op)](), left
    if isinstance(op, ast.NotEq):
        return nodes.negate(_equal(left, right))
    if isinstance(op, ast.Eq):
        return _equal(left, right)
    if isinstance(op, ast.NotIn):
        return nodes.negate(_member(reader, left, right))
    if isinstance(op, ast.In):
        return _member(reader, left, right)
    return _order(reader, left, op, right)


def is_plain_constant(node: ast.expr) -> bool:
    """A constant that Python's own == compares as the language does.

    0 and 1 are not: Python takes them for false and true.
    """
    if not isinstance(node, ast.Constant):
        return False
    kind = type(node.value)
    return kind is str or (kind in (int, float) and node.value not in (0, 1))


def _equal(left: ast.expr, right: ast.expr) -> ast.expr:
    # Two constants are left to the helper: CPython warns about `is` between literals.
    if isinstance(right, ast.Constant) and not isinstance(left, ast.Constant):
        if right.value is None or isinstance(right.value, bool):
            return nodes.compare(left, ast.Is(), right)
        if is_plain_constant(right):
            return nodes.compare(left, ast.Eq(), right)
    return nodes.call("eq", left, right)


def _order(reader: Reader, left: ast.expr, op: ast.cmpop, right: ast.expr) -> ast.expr:
    helper = _ORDER[type(op)]
    kind = type(right.value) if isinstance(right, ast.Constant) else None
    if kind not in (int, float, str) or isinstance(left, ast.Constant):
        return nodes.call(helper, left, right)
    first = left
    if not isinstance(left, ast.Name):
        temporary = reader.temporary()
        first, left = nodes.let(temporary, left), nodes.name(temporary)
    fits: ast.expr = nodes.type_is(first, "str" if kind is str else "int")
    if kind is not str:
        fits = ast.BoolOp(ast.Or(), [fits, nodes.type_is(left, "float")])
    return nodes.choose(fits, nodes.compare(left, op, right), nodes.call(helper, left, right))


def _member(reader: Reader, item: ast.expr, container: ast.expr) -> ast.expr:
    if not isinstance(container, ast.List) or not all(map(is_plain_constant, container.elts)):
        return nodes.call("member", item, container)
    # Only constants, so the list is made once and not per event.
    values = tuple(e.value for e in container.elts if isinstance(e, ast.Constant))
    literal = nodes.constant(values)
    if len(values) <= _SMALL or not all(type(value) is str for value in values):
        return nodes.compare(item, ast.In(), literal)
    temporary = reader.temporary()
    hashed = nodes.compare(nodes.name(temporary), ast.In(), nodes.constant(frozenset(values)))
    slow = nodes.call("member", nodes.name(temporary), literal)
    return nodes.choose(nodes.type_is(nodes.let(temporary, item), "str"), hashed, slow)
