"""A configuration as its tests see it: no secrets and no variables of the machine.

A test then does the same on every machine, and needs no password to run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import structs

from streamd.settings.document import Document
from streamd.settings.loader import load_document
from streamd.settings.model import Settings
from streamd.settings.problems import Problem, SettingsError

PLACEHOLDER = "placeholder"
_SECRET = re.compile(r"@\{(file|env|credential):([^}]*)\}")


def load_for_test(source: Document, env: Mapping[str, str]) -> Settings:
    """The settings with `env` for an environment; secrets that are not in it are placeholders.

    Raises SettingsError.
    """
    data = {key: value for key, value in source.data.items() if key != "test"}
    return load_document(structs.replace(source, data=_without_secrets(data, env)), env)


def hints(problems: Iterable[Problem]) -> list[Problem]:
    """The problems, those of variables with the advice that helps in a test."""
    return [
        structs.replace(one, message=f"{one.message} (a test sees only the variables of its env)")
        if one.message.startswith("environment variable ")
        else one
        for one in problems
    ]


def merged(errors: Iterable[SettingsError | Iterable[Problem]]) -> list[Problem]:
    """All problems, each once: every test of a file meets the same faults of its configuration."""
    found: dict[Problem, None] = {}
    for error in errors:
        problems = error.problems if isinstance(error, SettingsError) else error
        found.update(dict.fromkeys(hints(problems)))
    return list(found)


def _without_secrets(value: Any, env: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(item, env) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item, env) for item in value]
    if isinstance(value, str) and (secret := _SECRET.fullmatch(value)):
        given = secret[1] == "env" and secret[2] in env
        return value if given else PLACEHOLDER
    return value
