"""Generating the code that reads fields, shared by expressions and `compile_path`.

A dict answers with `get`; a Struct class that `find_field` has vouched for (see `known` there)
with a plain attribute read; everything else goes through the helpers of `values.py`. So both
kinds of event run at nearly the speed of code written for them.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, Final

from . import nodes, values
from .parser import Path, is_plain
from .values import MISSING

EVENT: Final = "event"
_LOCAL: Final = "p"  # hoisted paths
_KNOWN: Final = "known"  # sets of Struct classes, one per field name


class Reader:
    """Makes field reads for one piece of generated code.

    Args:
        paths: every path that will be read, once per place; one that several places pass
            through is read once, in advance. Reading cannot fail and changes nothing, so
            doing it early is safe even where the expression would not have got to it.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        counts = Counter(path[:n] for path in paths for n in range(1, len(path) + 1))
        shared = sorted((path for path, count in counts.items() if count > 1), key=len)
        self._locals: dict[Path, str] = {}
        self.namespace: dict[str, Any] = {
            "type": type,
            "dict": dict,
            "MISSING": MISSING,
            "find_field": values.find_field,
            "get_field": values.get_field,
            "find_item": values.find_item,
            "get_item": values.get_item,
        }
        self._known: dict[str, str] = {}
        self._temporaries = 0
        self.hoisted: list[ast.stmt] = []
        for path in shared:
            identifier = f"{_LOCAL}{len(self._locals)}"
            self.hoisted.append(nodes.assign(identifier, self.read(path)))
            self._locals[path] = identifier

    def temporary(self) -> str:
        """A fresh local name."""
        self._temporaries += 1
        return f"t{self._temporaries}"

    def read(self, path: Path, *, missing: bool = False) -> ast.expr:
        """Code for the value at a path; null, or MISSING if `missing`, where there is none."""
        if not path:
            return nodes.name(EVENT)
        if not missing and path in self._locals:
            return nodes.name(self._locals[path])
        return self.step(self.read(path[:-1]), path[-1], missing=missing)

    def step(self, base: ast.expr, part: str | int, *, missing: bool = False) -> ast.expr:
        """Code for one lookup in the value of `base`."""
        if isinstance(part, int):
            return nodes.call("find_item" if missing else "get_item", base, nodes.constant(part))
        first = base
        if not isinstance(base, ast.Name):
            temporary = self.temporary()
            first = nodes.let(temporary, base)
            base = nodes.name(temporary)
        key, known = nodes.constant(part), self._known_classes(part)
        slow: ast.expr = nodes.call("find_field" if missing else "get_field", base, key, known)
        if is_plain(part):
            attribute = ast.Attribute(base, part, ast.Load())
            in_known = nodes.compare(nodes.call("type", base), ast.In(), known)
            slow = nodes.choose(in_known, attribute, slow)
        default = (nodes.name("MISSING"),) if missing else ()
        fast = nodes.method(base, "get", key, *default)
        return nodes.choose(nodes.type_is(first, "dict"), fast, slow)

    def _known_classes(self, field: str) -> ast.Name:
        identifier = self._known.get(field)
        if identifier is None:
            identifier = self._known[field] = f"{_KNOWN}{len(self._known)}"
            self.namespace[identifier] = set()
        return nodes.name(identifier)


def map_dicts(path: Path, read: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """A function that gives the value at a path of names for each event, fast for plain dicts.

    Args:
        path: names only.
        read: does the same for events of any kind; called where one is no dict on the way.
    """

    def map_values(
        values: Sequence[Any], now_ms: int | None = None, errors: dict[int, str] | None = None
    ) -> list[Any]:
        found: Iterable[Any] = values
        try:
            for name in path:
                found = map(dict.get, found, repeat(name))
            return list(found)
        except TypeError:
            return read(values, now_ms, errors)

    return map_values
