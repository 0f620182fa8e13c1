"""From the checked syntax tree to a new tree of generated code.

Only the node types handled here exist in the language; each is made anew, so nothing of the
parsed tree is ever compiled. The result is run by CPython directly, which measures several
times faster than a tree of closures and is as safe: see `nodes.py` for all it can contain.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, Final

from . import nodes, operators
from .comparisons import comparison
from .errors import EvaluationError, nearest
from .functions import FUNCTIONS, Function
from .parser import Parsed, Path, field_name, path_of, subscript
from .paths import Reader
from .patterns import compile_pattern
from .text_functions import search
from .tokens import NAME_PREFIX

NOW: Final = "now_ms"
_SCALARS: Final = (type(None), bool, int, float, str)
_BINARY: Final[dict[type[ast.operator], str]] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "truediv",
    ast.FloorDiv: "floordiv",
    ast.Mod: "mod",
    ast.Pow: "power",
}
_HELPERS: Final = (*_BINARY.values(), "neg", "pos", "eq", "member", "lt", "le", "gt", "ge")


class Compiler:
    """Compiles one parsed expression.

    Args:
        parsed: the expression.

    Attributes:
        reader: holds the namespace and the hoisted reads that the result needs.
        result: code for the value; it uses the locals `event` and, if `uses_now`, `now_ms`.
        paths: what the expression reads.
        uses_now: whether now() is called.
    """

    def __init__(self, parsed: Parsed) -> None:
        self._parsed = parsed
        self.paths: list[Path] = []
        self.uses_now = False
        self._collect(parsed.body)
        self.reader = Reader(self.paths)
        self._space = self.reader.namespace
        self._space.update({"int": int, "float": float, "str": str, "search": search})
        self._space.update({helper: getattr(operators, helper) for helper in _HELPERS})
        self.result = self._value(parsed.body)

    def _collect(self, node: ast.expr) -> None:
        """Note every path, so that shared prefixes are known before code is made."""
        path = path_of(self._parsed, node)
        if path is not None:
            self.paths.append(path)
            return
        # A function's name is no path, and a subscript's index is a literal.
        parts = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
        for child in parts:
            if isinstance(child, ast.expr):
                self._collect(child)

    def _value(self, node: ast.expr) -> ast.expr:
        path = path_of(self._parsed, node)
        if path is not None:
            return self.reader.read(path)
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise self._parsed.error(node, "this is not part of the expression language")
        return handler(self, node)

    def _constant(self, node: ast.Constant) -> ast.expr:
        if type(node.value) not in _SCALARS:
            raise self._parsed.error(node, "this literal is not part of the expression language")
        return nodes.constant(node.value)

    def _attribute(self, node: ast.Attribute) -> ast.expr:
        return self.reader.step(self._looked_in(node.value), field_name(self._parsed, node))

    def _subscript(self, node: ast.Subscript) -> ast.expr:
        return self.reader.step(self._looked_in(node.value), subscript(self._parsed, node))

    def _looked_in(self, node: ast.expr) -> ast.expr:
        base = self._value(node)
        if isinstance(base, ast.Constant):
            raise self._parsed.error(node, "a literal has no fields")
        return base

    def _unary(self, node: ast.UnaryOp) -> ast.expr:
        operand = self._value(node.operand)
        if isinstance(node.op, ast.Not | ast.Invert):  # Invert is how ! comes through the parser
            if isinstance(operand, ast.Constant):
                return nodes.constant(not operand.value)
            return nodes.negate(operand)
        return self._helper(node, "neg" if isinstance(node.op, ast.USub) else "pos", operand)

    def _binary(self, node: ast.BinOp) -> ast.expr:
        helper = _BINARY.get(type(node.op))
        if helper is None:
            raise self._parsed.error(node, "this operator is not part of the expression language")
        return self._helper(node, helper, self._value(node.left), self._value(node.right))

    def _logic(self, node: ast.BoolOp) -> ast.expr:
        return ast.BoolOp(node.op, [self._value(value) for value in node.values])

    def _conditional(self, node: ast.IfExp) -> ast.expr:
        return nodes.choose(
            self._value(node.test), self._value(node.body), self._value(node.orelse)
        )

    def _list(self, node: ast.List) -> ast.expr:
        return ast.List([self._value(item) for item in node.elts], ast.Load())

    def _compare(self, node: ast.Compare) -> ast.expr:
        left = self._value(node.left)
        links: list[ast.expr] = []
        last = len(node.ops) - 1
        for i, (op, operand) in enumerate(zip(node.ops, node.comparators, strict=True)):
            right = following = self._value(operand)
            if i < last and not isinstance(right, ast.Constant | ast.Name):
                # The middle of a chain is evaluated once and used in two comparisons.
                temporary = self.reader.temporary()
                right, following = nodes.let(temporary, right), nodes.name(temporary)
            links.append(comparison(self.reader, left, op, right))
            left = following
        return links[0] if len(links) == 1 else ast.BoolOp(ast.And(), links)

    def _call(self, node: ast.Call) -> ast.expr:
        name, function = self._function(node)
        if node.keywords or any(isinstance(arg, ast.Starred) for arg in node.args):
            raise self._parsed.error(node, f"{name}() takes plain arguments only", function.usage)
        count = len(node.args)
        if count < function.least or (function.most is not None and count > function.most):
            message = f"{name}() does not take {count} argument{'s' if count != 1 else ''}"
            raise self._parsed.error(node, message, f"write {function.usage}")
        special = _SPECIAL.get(name)
        if special is not None:
            return special(self, node)
        helper = f"f_{name}"
        self._space[helper] = function.call
        return self._helper(node, helper, *(self._value(arg) for arg in node.args))

    def _function(self, node: ast.Call) -> tuple[str, Function]:
        target = node.func
        if isinstance(target, ast.Attribute):
            name = target.attr.removeprefix(NAME_PREFIX)
            hint = f"write {FUNCTIONS[name].usage}" if name in FUNCTIONS else "see the table"
            raise self._parsed.error_after_dot(target, "values have no methods", hint)
        if not isinstance(target, ast.Name) or not target.id.startswith(NAME_PREFIX):
            raise self._parsed.error(target, "only functions of the table can be called")
        name = target.id.removeprefix(NAME_PREFIX)
        if name not in FUNCTIONS:
            hint = nearest(name, FUNCTIONS)
            raise self._parsed.error(target, f"unknown function {name}", hint)
        return name, FUNCTIONS[name]

    def _helper(self, node: ast.expr, helper: str, *arguments: ast.expr) -> ast.expr:
        """A call of a pure function, made now if all arguments are known now."""
        known = [arg.value for arg in arguments if isinstance(arg, ast.Constant)]
        if len(known) == len(arguments):
            try:
                value: Any = self._space[helper](*known)
            except EvaluationError as error:
                raise self._parsed.error(node, error.message) from None
            if type(value) in _SCALARS:
                return nodes.constant(value)
        return nodes.call(helper, *arguments)

    def _exists(self, node: ast.Call) -> ast.expr:
        path = path_of(self._parsed, node.args[0])
        if path is None:
            raise self._parsed.error(node.args[0], "expected a field path", "exists(payload.id)")
        found = self.reader.read(path, missing=True)
        return nodes.compare(found, ast.IsNot(), nodes.name("MISSING"))

    def _missing(self, node: ast.Call) -> ast.expr:
        return nodes.negate(self._exists(node))

    def _coalesce(self, node: ast.Call) -> ast.expr:
        *others, result = [self._value(arg) for arg in node.args]
        for value in reversed(others):
            temporary = self.reader.temporary()
            test = nodes.compare(nodes.let(temporary, value), ast.IsNot(), nodes.constant(None))
            result = nodes.choose(test, nodes.name(temporary), result)
        return result

    def _now(self, _node: ast.Call) -> ast.expr:
        self.uses_now = True
        return nodes.name(NOW)

    def _matches(self, node: ast.Call) -> ast.expr:
        subject, pattern = (self._value(arg) for arg in node.args)
        if not isinstance(pattern, ast.Constant) or not isinstance(pattern.value, str):
            raise self._parsed.error(node.args[1], "the pattern of matches() is a literal string")
        try:
            compiled = compile_pattern(pattern.value)
        except ValueError as error:
            raise self._parsed.error(node.args[1], str(error)) from None
        identifier = f"pattern{len(self._space)}"
        self._space[identifier] = compiled
        return nodes.call("search", subject, nodes.name(identifier))


_HANDLERS: Final[dict[type[ast.expr], Callable[[Compiler, Any], ast.expr]]] = {
    ast.Constant: Compiler._constant,
    ast.Attribute: Compiler._attribute,
    ast.Subscript: Compiler._subscript,
    ast.UnaryOp: Compiler._unary,
    ast.BinOp: Compiler._binary,
    ast.BoolOp: Compiler._logic,
    ast.IfExp: Compiler._conditional,
    ast.List: Compiler._list,
    ast.Compare: Compiler._compare,
    ast.Call: Compiler._call,
}
_SPECIAL: Final[dict[str, Callable[[Compiler, ast.Call], ast.expr]]] = {
    "exists": Compiler._exists,
    "missing": Compiler._missing,
    "coalesce": Compiler._coalesce,
    "now": Compiler._now,
    "matches": Compiler._matches,
}
