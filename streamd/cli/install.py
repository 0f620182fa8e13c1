"""`streamd install`: make the system's service manager run the daemon."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from streamd import exits
from streamd.cli.unit import name, unit

_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""Where the unit's sandbox has nothing of the host's (ProtectHome, PrivateTmp)."""


def install(config: Path, *, output: Path | None, instance: bool) -> int:
    """Print the unit for this installation and configuration, or write it into `output`."""
    program, config = _program(), config.absolute()
    text = unit(program, config, instance=instance)
    for warning in _warnings(program, config.parent if instance else config):
        print(f"warning: {warning}", file=sys.stderr)
    if output is None:
        print(text, end="")
        return exits.OK
    path = output / name(instance=instance)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"cannot write {path}: {error.strerror}", file=sys.stderr)
        return exits.FAILED
    started = path.stem + "NAME" * instance
    print(f"written: {path}")
    print(f"next: systemctl daemon-reload && systemctl enable --now {started}")
    return exits.OK


def _program() -> Path:
    """The command as it was called, or else where its installation has put it.

    Not resolved: what an upgrade replaces may be the target of a link.
    """
    called = shutil.which(sys.argv[0])
    if called and Path(called).name == "streamd":
        return Path(called).absolute()
    return Path(sysconfig.get_path("scripts"), "streamd")


def _warnings(program: Path, config: Path) -> Iterator[str]:
    for path in (program, config):
        real = path.resolve()
        if not real.exists():
            yield f"{path} does not exist"
        if any(real.is_relative_to(hidden) for hidden in _HIDDEN):
            yield f"{real} is out of the service's sight: put it elsewhere, such as /opt or /etc"
