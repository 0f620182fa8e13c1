"""On which line of a TOML document each key and array element stands.

`tomllib` forgets positions. This scanner reads a text that tomllib has accepted, so it need not
judge, only follow: it skips over values and notes where keys are.
"""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PLAIN_VALUE = re.compile(r"[^,\]}#\n]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)


def line_map(text: str) -> dict[Path, int]:
    """Key path -> line, counted from 1. Tables have the line of their header.

    `text` must be valid TOML.
    """
    return _Scanner(text).scan()


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of a path or, where the document does not have it, of its nearest table."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.lines: dict[Path, int] = {}
        self.lengths: dict[Path, int] = {}  # of arrays of tables

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self._skip(_BLANK_LINES)
        while self.at < len(self.text):
            table = self._header() if self.text[self.at] == "[" else self._pair(table)
            self._skip(_BLANK_LINES)
        return self.lines

    def _header(self) -> Path:
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        *parents, last = self._keys()
        self.at += 2 if is_array else 1
        path: Path = ()
        for key in parents:
            path = self._enter((*path, key))
        path = (*path, last)
        if is_array:
            self.lines.setdefault(path, self.line)
            path = (*path, self.lengths.setdefault(path, 0))
            self.lengths[path[:-1]] += 1
        else:
            path = self._enter(path)
        self.lines[path] = self.line
        return path

    def _enter(self, path: Path) -> Path:
        """The table at a path: of an array of tables its last element."""
        self.lines.setdefault(path, self.line)
        return (*path, self.lengths[path] - 1) if path in self.lengths else path

    def _pair(self, table: Path) -> Path:
        path = table
        for key in self._keys():
            path = (*path, key)
            self.lines.setdefault(path, self.line)
        self.at += 1  # =
        self._skip(_BLANK)
        self._value(path)
        return table

    def _keys(self) -> list[str]:
        """A dotted key, up to what follows it."""
        keys: list[str] = []
        while True:
            self._skip(_BLANK)
            if self.text[self.at] in "\"'":
                keys.append(tomllib.loads(f"key = {self._skip(_STRING)}")["key"])
            else:
                keys.append(self._skip(_BARE_KEY))
            self._skip(_BLANK)
            if self.text[self.at] != ".":
                return keys
            self.at += 1

    def _value(self, path: Path) -> None:
        first = self.text[self.at]
        if first in "\"'":
            self._skip(_STRING)
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_PLAIN_VALUE)

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while True:
            self._skip(_BLANK_LINES)
            if self.text[self.at] == "]":
                break
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self.lines[*path, index] = self.line
            self._value((*path, index))
            index += 1
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while True:
            self._skip(_BLANK_LINES)
            if self.text[self.at] == "}":
                break
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._pair(path)
        self.at += 1

    def _skip(self, pattern: re.Pattern[str]) -> str:
        """Move over a match, counting its lines; what cannot match was refused by tomllib."""
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"line {self.line}: not TOML")
        self.at = match.end()
        self.line += match[0].count("\n")
        return match[0]
