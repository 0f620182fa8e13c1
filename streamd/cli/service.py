"""`streamd as SERVICE COMMAND`: a command that sees what the service sees.

A service under systemd has a user, a state directory and credentials that a shell has not. So the
command runs as a transient unit with the same, which `systemd-run` starts.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from streamd import exits

_SHOWN = (
    "DynamicUser",
    "Group",
    "StateDirectory",
    "StateDirectoryMode",
    "SupplementaryGroups",
    "UMask",
    "User",
    "WorkingDirectory",
)
_WRITTEN = re.compile(r"(Environment|EnvironmentFile|(?:Load|Set)Credential(?:Encrypted)?)=(.*)")
_COMMAND = re.compile(r"path=(.*?) ; argv\[\]=.* --config (.*?) ; ")
_ITS_OWN = ("/tmp", "/var/tmp")


class NoServiceError(Exception):
    """There is no such service of streamd. The message says what there is instead."""


def run_as(service: str, command: Sequence[str]) -> int:
    """Run `streamd COMMAND` as this service; returns its exit status."""
    if not command:
        print("which command? For example: dlq list", file=sys.stderr)
        return exits.USAGE
    hidden = [word for word in command if _is_hidden(word)]
    if hidden:
        print(f"the service has a {hidden[0]} of its own: name another place", file=sys.stderr)
        return exits.USAGE
    try:
        shown = _ask("show", service, *(f"--property={key}" for key in ("ExecStart", *_SHOWN)))
        properties = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        words = transient(service, properties, _ask("cat", service), command)
    except (NoServiceError, OSError) as error:
        print(error, file=sys.stderr)
        return exits.FAILED
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return subprocess.run(
        ["systemd-run", "--pty" if terminal else "--pipe", *_editor(), *words], check=False
    ).returncode


def transient(
    service: str, properties: Mapping[str, str], written: str, command: Sequence[str]
) -> list[str]:
    """The arguments of systemd-run. `properties` are the unit's, `written` is the unit's text.

    Raises NoServiceError.
    """
    found = _COMMAND.search(properties.get("ExecStart", ""))
    if found is None:
        raise NoServiceError(f"{service} runs no `streamd --config FILE`")
    program, config = found.groups()
    settings = [f"{key}={properties[key]}" for key in _SHOWN if properties.get(key)]
    settings += _as_written(written, service)
    return [
        "--quiet",
        "--wait",
        "--collect",
        "--service-type=exec",
        f"--description=streamd {shlex.join(command)}",
        *(f"--property={setting}" for setting in settings),
        "--",
        program,
        "--config",
        config,
        *command,
    ]


def _as_written(text: str, service: str) -> Iterator[str]:
    """Settings that `systemctl show` does not tell in a form that can be set again."""
    instance = service.partition("@")[2].removesuffix(".service")
    for line in text.splitlines():
        found = _WRITTEN.fullmatch(line.strip())
        if found:
            value = re.sub("%([iI%])", lambda sign: "%" if sign[1] == "%" else instance, found[2])
            yield f"{found[1]}={value}"


def _is_hidden(word: str) -> bool:
    return any(PurePosixPath(word).is_relative_to(place) for place in _ITS_OWN)


def _editor() -> list[str]:
    return [f"--setenv={name}" for name in ("EDITOR", "VISUAL") if name in os.environ]


def _ask(verb: str, service: str, *options: str) -> str:
    """Raises NoServiceError, or OSError without systemd."""
    asked = subprocess.run(
        ["systemctl", verb, "--no-pager", *options, "--", service],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        raise NoServiceError(asked.stderr.strip())
    return asked.stdout
