"""Reads the plain YAML that compose.yaml keeps to, and refuses everything else.

Mappings and lists in blocks, `|` texts, and scalars; a value in brackets is JSON. A key that is
given twice is refused, which YAML's own readers often are not strict about.
"""

import json
import re
from typing import Any, NamedTuple

_KEY = re.compile(r"([\w.-]+):(?: (.+))?")


class PlainYamlError(ValueError):
    """What this reader does not take; the message says where."""


class Line(NamedTuple):
    number: int
    indent: int
    text: str


def read(text: str) -> Any:
    """Raises PlainYamlError."""
    if "\t" in text:
        raise PlainYamlError("there is a tab in it")
    lines = [
        Line(number, len(line) - len(line.lstrip(" ")), line.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    value, rest = _block(lines, 0)
    if rest:
        raise PlainYamlError(f"line {rest[0].number}: wrong indentation")
    return value


def _block(lines: list[Line], indent: int) -> tuple[Any, list[Line]]:
    return _list(lines, indent) if lines[0].text.startswith("- ") else _mapping(lines, indent)


def _mapping(lines: list[Line], indent: int) -> tuple[dict[str, Any], list[Line]]:
    found: dict[str, Any] = {}
    while lines and lines[0].indent == indent:
        line, *lines = lines
        match = _KEY.fullmatch(line.text)
        if not match or match[1] in found:
            raise PlainYamlError(f"line {line.number}: not a key, or the second of its name")
        key, value = match.groups()
        if value == "|":
            inner = [one for one in lines if one.indent > indent]
            inner = lines[
                : next((n for n, one in enumerate(lines) if one not in inner), len(lines))
            ]
            lines = lines[len(inner) :]
            left = min((one.indent for one in inner), default=0)
            found[key] = "".join(f"{' ' * (one.indent - left)}{one.text}\n" for one in inner)
        elif value is not None:
            found[key] = _scalar(line, value)
        elif lines and lines[0].indent > indent:
            found[key], lines = _block(lines, lines[0].indent)
        else:
            found[key] = None
    return found, lines


def _list(lines: list[Line], indent: int) -> tuple[list[Any], list[Line]]:
    found: list[Any] = []
    while lines and lines[0].indent == indent and lines[0].text.startswith("- "):
        line = lines[0]
        item = line.text[2:]
        if _KEY.fullmatch(item):
            # The item's first key stands behind the dash; the others stand below it.
            head = Line(line.number, indent + 2, item)
            value, lines = _mapping([head, *lines[1:]], indent + 2)
            found.append(value)
        else:
            found.append(_scalar(line, item))
            lines = lines[1:]
    return found, lines


def _scalar(line: Line, text: str) -> Any:
    if text[0] in '["' or text in ("true", "false") or re.fullmatch(r"\d+", text):
        try:
            return json.loads(text)
        except ValueError as error:
            raise PlainYamlError(f"line {line.number}: {error}") from error
    if text[0] in "{&*!|>'%@`?-" or ": " in text or " #" in text:
        raise PlainYamlError(f"line {line.number}: quote it, or write it plainer")
    return text
