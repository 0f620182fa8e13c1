"""Errors of a configuration: each with its line and key, all of them at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path as FilePath

from msgspec import Struct

from streamd.settings.lines import Path, line_of

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PART = re.compile(r'\[(\d+)\]|"([^"]*)"|([^.\["]+)')


class Problem(Struct, frozen=True):
    """One error: `streamd.toml:12: pipeline.events.sink[0].max_rows: expected int, got "many"`."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class SettingsError(Exception):
    """A configuration cannot be used; `problems` has every reason, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(map(str, self.problems)))


class Problems:
    """Collects the errors of one file; `folder` is the one that the file is in."""

    def __init__(self, file: str, lines: dict[Path, int]) -> None:
        self.file = file
        self.folder = FilePath(file).parent
        self.lines = lines
        self.found: list[Problem] = []
        self._secrets: list[str] = []
        self._paths: list[Path] = []

    def hide(self, secret: str) -> None:
        """Mask a secret in every message from now on: a plugin's own message may quote it."""
        if len(secret) > 2:
            self._secrets.append(str.__str__(secret))

    def add(self, path: Path, message: str, also: Path | None = None) -> None:
        """Note an error at a key; the same error is noted once.

        `also` is another key that it concerns: named too, if the file has it.
        """
        if also in self.lines:
            message += f" (see {self.file}:{self.lines[also]}: {path_text(also)})"
        for secret in self._secrets:
            message = message.replace(secret, "***")
        problem = Problem(self.file, line_of(self.lines, path), path_text(path), message)
        if problem not in self.found:
            self.found.append(problem)
            self._paths.append(path)

    def within(self, path: Path) -> bool:
        """Whether an error was noted at a key or below it."""
        return any(found[: len(path)] == path for found in self._paths)


def path_text(path: Path) -> str:
    """A key path for people: `pipeline.events.sink[0].max_rows`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE.fullmatch(part) else f'"{part}"'
            text += f".{key}" if text else key
    return text


def path_of(text: str) -> Path:
    """The key path that a text such as `columns.id` or `rules[2].max` means."""
    return tuple(
        int(match[1]) if match[1] else match[2] or match[3] for match in _PART.finditer(text)
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all if few."""
    names = sorted(str(one) for one in known)
    if near := difflib.get_close_matches(name, names, n=1):
        return f', did you mean "{near[0]}"?'
    if 0 < len(names) <= 12:
        return f"; known: {', '.join(names)}"
    return ""
