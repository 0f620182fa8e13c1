"""The configuration file as a tree with lines, before anything in it is judged."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path as FilePath
from typing import Any

from msgspec import Struct

from streamd.settings.lines import Path, line_map
from streamd.settings.problems import Problem, SettingsError

_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class Document(Struct, frozen=True):
    """A parsed file: `data` as tomllib gives it, `lines` by key path."""

    file: FilePath
    data: dict[str, Any]
    lines: dict[Path, int]


def read(file: FilePath) -> Document:
    """Raises SettingsError if the file cannot be read or is not TOML."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _error(file, 0, f"cannot read the configuration: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _error(file, line, "not UTF-8 text") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        position = _POSITION.search(str(error))
        line = int(position[1]) if position and position[1] else text.count("\n") + 1
        raise _error(file, line, _POSITION.sub("", str(error))) from None
    except RecursionError:
        raise _error(file, 1, "nested too deeply") from None
    return Document(file, data, line_map(text))


def _error(file: FilePath, line: int, message: str) -> SettingsError:
    return SettingsError([Problem(str(file), line, "", message)])
