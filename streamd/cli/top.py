"""`streamd top`: the pipelines of a running daemon, live in the terminal."""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import time
import tty
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from streamd import exits
from streamd.admin.look import Look
from streamd.cli.frame import frame
from streamd.settings import SettingsError
from streamd.settings.admin import parse_address
from streamd.settings.loader import daemon_options

_EVERY = 2.0
_TIMEOUT = 5.0
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # the other screen, no cursor, no wrapping
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"


class _UnreachableError(Exception):
    """The daemon does not answer; the message says why."""


class Daemon:
    """The admin port of a running daemon, seen from outside."""

    def __init__(self, url: str, token: str) -> None:
        self._request = urllib.request.Request(f"{url}/status/live")
        if token:
            self._request.add_header("Authorization", f"Bearer {token}")
        # What a proxy is set for is the way out, not to this machine or its neighbour.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._url = url

    def look(self) -> Look:
        """Raises _UnreachableError."""
        try:
            with self._opener.open(self._request, timeout=_TIMEOUT) as response:
                return msgspec.json.decode(response.read(), type=Look)
        except urllib.error.HTTPError as error:
            hint = ": give --token-file" if error.code == 401 else ""
            raise _UnreachableError(f"{self._url} answers {error.code}{hint}") from error
        except (OSError, msgspec.MsgspecError) as error:
            raise _UnreachableError(f"{self._url}: {_why(error)}") from error


def _why(error: Exception) -> str:
    """An error of a connection comes within another, and neither is written for people."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, ConnectionRefusedError):
        return "nobody listens there; does the daemon run?"
    return getattr(cause, "strerror", None) or str(cause)


def top(config: Path, *, admin: str | None, token_file: Path | None, once: bool) -> int:
    """Show until q or Ctrl-C; `once`: print one frame. What is not given is the configuration's."""
    try:
        daemon = _daemon(config, admin, token_file)
        if once:
            size = shutil.get_terminal_size()
            colour = sys.stdout.isatty()
            lines = frame(daemon.look(), size.columns, sys.maxsize, note=" ", colour=colour)
            print("\n".join(line.rstrip() for line in lines))
            return exits.OK
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            print("streamd top needs a terminal; --once prints one frame", file=sys.stderr)
            return exits.USAGE
        daemon.look()
        with _screen():
            _live(daemon)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return exits.CONFIG
    except (OSError, ValueError, _UnreachableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return exits.FAILED
    except KeyboardInterrupt:
        pass
    return exits.OK


def _daemon(config: Path, admin: str | None, token_file: Path | None) -> Daemon:
    token = token_file.read_text(encoding="utf-8").strip() if token_file else ""
    if admin is None:
        options = daemon_options(config)
        if not options.admin:
            raise _UnreachableError(f"{config}: [streamd] admin is empty, there is nobody to ask")
        admin, token = options.admin, token or options.admin_token or ""
    address = parse_address(admin.removeprefix("http://").rstrip("/"))
    everywhere = address.host in ("0.0.0.0", "::")
    return Daemon(f"http://{f'127.0.0.1:{address.port}' if everywhere else address}", token)


@contextmanager
def _screen() -> Iterator[None]:
    """Keys one by one and unseen, on a screen of our own; all as before when we leave."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        _write(_ENTER)
        yield
    finally:
        _write(_LEAVE)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _live(daemon: Daemon) -> None:
    look, note = daemon.look(), ""
    while True:
        size = shutil.get_terminal_size()
        lines = frame(look, size.columns, size.lines, note=note)
        # Overwritten, not cleared: nothing flickers.
        _write("\x1b[H" + "\x1b[K\n".join(lines) + "\x1b[J")
        if _quit_within(_EVERY):
            return
        try:
            look, note = daemon.look(), ""
        except _UnreachableError as error:
            note = f"{error} (what is shown is old)  q: quit"


def _quit_within(seconds: float) -> bool:
    """Wait for so long, or for a key: whether it was q, or the terminal is gone."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0]:
            key = os.read(sys.stdin.fileno(), 1)
            if key in (b"q", b"Q", b""):
                return True
    return False


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
