"""The frames that generated code is put into, and its compilation."""

from __future__ import annotations

import ast
import copy
from typing import Any, Final

from . import errors

# HOISTED, RESULT and START are replaced; nothing of a user's text is in here.
_EXPRESSION: Final = """
def evaluate(event, now_ms=None):
    START
    try:
        HOISTED
        return RESULT
    except Exception as error:
        fail(error, TEXT)

def filter_indices(values, now_ms=None, errors=None):
    START
    kept = []
    keep = kept.append
    for index, event in enumerate(values):
        try:
            HOISTED
            if RESULT:
                keep(index)
        except Exception as error:
            record(error, TEXT, index, errors)
    return kept

def map_values(values, now_ms=None, errors=None):
    START
    results = []
    append = results.append
    for index, event in enumerate(values):
        try:
            HOISTED
            append(RESULT)
        except Exception as error:
            record(error, TEXT, index, errors)
            append(None)
    return results
"""
_CLOCK: Final = "if now_ms is None:\n    now_ms = clock()"
_GETTER: Final = """
def get(event):
    return RESULT
"""


class _Fill(ast.NodeTransformer):
    def __init__(self, result: ast.expr, hoisted: list[ast.stmt], start: list[ast.stmt]) -> None:
        self._result = result
        self._blocks = {"HOISTED": hoisted, "START": start}

    def visit_Expr(self, node: ast.Expr) -> Any:
        if isinstance(node.value, ast.Name) and node.value.id in self._blocks:
            return copy.deepcopy(self._blocks[node.value.id])
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self._result) if node.id == "RESULT" else node


def build_expression(
    result: ast.expr,
    hoisted: list[ast.stmt],
    namespace: dict[str, Any],
    *,
    text: str,
    uses_now: bool,
) -> dict[str, Any]:
    """Compile the three functions of an expression.

    Args:
        result: code for the value.
        hoisted: statements that `result` relies on.
        namespace: what both refer to; with `clock` if `uses_now`.
        text: the expression, for errors at run time.
        uses_now: whether `now_ms` is read.

    Returns:
        `evaluate`, `filter_indices` and `map_values` by name.

    Raises:
        RecursionError: the code is nested too deeply for Python's compiler.
    """
    start = ast.parse(_CLOCK).body if uses_now else []
    space = {**namespace, "TEXT": text, "enumerate": enumerate, "Exception": Exception}
    space.update(fail=errors.fail, record=errors.record)
    return _run(_EXPRESSION, _Fill(result, hoisted, start), space)


def build_getter(result: ast.expr, namespace: dict[str, Any]) -> Any:
    """Compile the one function of a path: event -> value."""
    return _run(_GETTER, _Fill(result, [], []), dict(namespace))["get"]


def _run(template: str, fill: _Fill, space: dict[str, Any]) -> dict[str, Any]:
    tree = ast.fix_missing_locations(fill.visit(ast.parse(template)))
    # No builtins: generated code reaches exactly what its namespace holds.
    space["__builtins__"] = {}
    exec(compile(tree, "<expression>", "exec"), space)
    return space
