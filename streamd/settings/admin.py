"""The admin port's address and token. Pure."""

from __future__ import annotations

import ipaddress

from msgspec import Struct

from streamd.settings.model import DaemonOptions
from streamd.settings.problems import Problems

LEAST_TOKEN = 16
"""Characters of a token that is not guessed."""


class Address(Struct, frozen=True):
    """Where the admin port is. `host` is a name or an IP address without brackets."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`127.0.0.1:8001`, `[::1]:8001`, `localhost:8001` or `:8001`, which is the first.

    Raises ValueError if it is none of these.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    number = int(port) if port.isascii() and port.isdigit() else 0
    if not colon or not 0 < number < 65536 or (":" in host and not bracketed):
        raise ValueError(f'expected HOST:PORT such as "127.0.0.1:8001", got "{text}"')
    return Address(host[1:-1] if bracketed else host or "127.0.0.1", number)


def is_loopback(host: str) -> bool:
    """Whether a host of an address or a URL means this machine to itself."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check(options: DaemonOptions, problems: Problems) -> None:
    """Note what is wrong with the admin port: who reaches it must be known to it."""
    path = ("streamd", "admin")
    token = options.admin_token or ""
    if token and (len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable()):
        problems.add(
            ("streamd", "admin_token"),
            f"expected at least {LEAST_TOKEN} printable ASCII characters",
        )
    if not options.admin:
        return
    try:
        address = parse_address(options.admin)
    except ValueError as error:
        problems.add(path, str(error))
        return
    if not address.loopback and not token:
        problems.add(
            path,
            f"{options.admin} is not loopback: whoever reaches it sees the configuration and the"
            " events that failed. Set admin_token, or listen on 127.0.0.1",
        )
