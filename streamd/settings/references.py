"""`${VAR}` and `@{file:...}` in the strings of a parsed document.

Substitution happens after parsing, so that a value can neither break the syntax nor add keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from streamd.api import Secret
from streamd.settings.lines import Path
from streamd.settings.problems import Problems

_VARIABLE = re.compile(r"\$(\$\{)|\$\{([^}]*)\}")
_EXPRESSION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)(.*))?", re.DOTALL)
_SECRET = re.compile(r"@\{(file|env|credential):((?:(?!@\{).)*?)\}", re.DOTALL)


class Substituted(str):
    """A value that was one `${...}` and nothing else: it may stand for a number or boolean."""

    __slots__ = ()


class UnresolvedReferenceError(ValueError):
    """A reference that cannot be resolved; the message never holds a secret."""


class Unresolved:
    """Stands where a reference could not be resolved: reported already, and fits nowhere."""


UNRESOLVED = Unresolved()


def resolve(
    value: Any, path: Path, env: Mapping[str, str], directory: FilePath, problems: Problems
) -> Any:
    """The same tree with every reference in its strings resolved.

    `directory` is where relative paths of secret files start. A string that fails is noted in
    `problems` and becomes UNRESOLVED.
    """
    if isinstance(value, dict):
        return {
            key: resolve(item, (*path, key), env, directory, problems)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            resolve(item, (*path, at), env, directory, problems) for at, item in enumerate(value)
        ]
    if not isinstance(value, str):
        return value
    try:
        text = resolve_text(value, env, directory)
    except UnresolvedReferenceError as error:
        problems.add(path, str(error))
        return UNRESOLVED
    if isinstance(text, Secret):
        problems.hide(text)
    return text


def resolve_text(text: str, env: Mapping[str, str], directory: FilePath) -> str:
    """A string with its references resolved: str, Substituted or Secret.

    Raises UnresolvedReferenceError if a variable is not set or a secret cannot be read.
    """
    if secret := _SECRET.fullmatch(text):
        return _secret(secret[1], _substitute(secret[2], env), env, directory)
    if _SECRET.search(text):
        raise UnresolvedReferenceError("a secret reference must be the whole value")
    variable = _VARIABLE.fullmatch(text)
    if variable and variable[1] is None:
        return Substituted(_expand(variable[2], env))
    return _substitute(text, env)


def _substitute(text: str, env: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: match[1] or _expand(match[2], env), text)


def _expand(expression: str, env: Mapping[str, str]) -> str:
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        raise UnresolvedReferenceError(
            f"${{{expression}}} is no reference: write ${{NAME}}, ${{NAME:-default}} or"
            " ${NAME:?message}, and $${ for a plain ${"
        )
    name, operator, argument = match.groups()
    value = env.get(name)
    if operator is None and value is None:
        raise UnresolvedReferenceError(
            f"environment variable {name} is not set; ${{{name}:-default}} gives a default"
        )
    if operator and not value:
        if operator == ":-":
            return str(argument)
        raise UnresolvedReferenceError(f"environment variable {name} is not set: {argument}")
    return str(value)


def _secret(kind: str, name: str, env: Mapping[str, str], directory: FilePath) -> Secret:
    """Where a secret lies may be told in errors, what it is never."""
    if kind == "env":
        if name not in env:
            raise UnresolvedReferenceError(f"environment variable {name} of a secret is not set")
        return Secret(env[name])
    file = directory / name
    if kind == "credential":
        if not (credentials := env.get("CREDENTIALS_DIRECTORY")):
            raise UnresolvedReferenceError(
                f'no credential "{name}": CREDENTIALS_DIRECTORY is not set (the service manager'
                " sets it for LoadCredential=)"
            )
        file = FilePath(credentials, name)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UnresolvedReferenceError(
            f"cannot read the secret in {file}: {error.strerror}"
        ) from None
    except ValueError:
        raise UnresolvedReferenceError(f"the secret in {file} is not UTF-8 text") from None
    return Secret(text.rstrip("\r\n"))
