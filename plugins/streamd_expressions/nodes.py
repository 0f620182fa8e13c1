"""Small constructors for the syntax tree of the generated code.

Generated code consists of what these make and of `templates.py`: names chosen by the compiler,
constants as values (never as source text), and attribute reads of checked field names.
"""

from __future__ import annotations

import ast
from typing import Any


def name(identifier: str) -> ast.Name:
    """A read of a local or a helper."""
    return ast.Name(identifier, ast.Load())


def let(identifier: str, value: ast.expr) -> ast.NamedExpr:
    """`(identifier := value)`."""
    return ast.NamedExpr(ast.Name(identifier, ast.Store()), value)


def constant(value: Any) -> ast.Constant:
    """A constant of an immutable type."""
    return ast.Constant(value)


def call(function: str, *arguments: ast.expr) -> ast.Call:
    """`function(arguments)`."""
    return ast.Call(name(function), list(arguments), [])


def method(base: ast.expr, attribute: str, *arguments: ast.expr) -> ast.Call:
    """`base.attribute(arguments)`."""
    return ast.Call(ast.Attribute(base, attribute, ast.Load()), list(arguments), [])


def compare(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> ast.Compare:
    """`left operator right`."""
    return ast.Compare(left, [operator], [right])


def type_is(value: ast.expr, kind: str) -> ast.Compare:
    """`type(value) is kind`."""
    return compare(call("type", value), ast.Is(), name(kind))


def choose(test: ast.expr, then: ast.expr, otherwise: ast.expr) -> ast.IfExp:
    """`then if test else otherwise`."""
    return ast.IfExp(test, then, otherwise)


def negate(value: ast.expr) -> ast.UnaryOp:
    """`not value`."""
    return ast.UnaryOp(ast.Not(), value)


def assign(identifier: str, value: ast.expr) -> ast.stmt:
    """`identifier = value`."""
    return ast.Assign([ast.Name(identifier, ast.Store())], value)
