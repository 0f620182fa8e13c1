"""Telling the service manager how the daemon is: systemd's notify protocol, sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends to the socket in NOTIFY_SOCKET; without one it does nothing.

    A message that cannot be sent is dropped: the service manager's own time-outs cover for it.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL byte of an abstract socket.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_interval = _watchdog_interval(environment)

    def ready(self, status: str) -> None:
        """The daemon works, or works again after a reload."""
        self._send("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """A reload has begun; `ready` has to follow, also when it was refused."""
        # Both in one datagram, or `systemctl reload` hangs (sd_notify(3), Type=notify-reload).
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        self._send("STOPPING=1", f"STATUS={status}")

    def extend_timeout(self, seconds: float) -> None:
        """Draining takes so much longer; asks the service manager not to kill."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def alive(self) -> None:
        """Keep the watchdog from restarting the daemon."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                # A line break in a status would begin another message.
                message = "\n".join(line.replace("\n", " ") for line in lines)
                out.sendto(message.encode(errors="replace"), self._address)
        except OSError:
            return


def _watchdog_interval(environment: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life, half of what the watchdog waits; None without one."""
    wanted = environment.get("WATCHDOG_USEC", "")
    ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(wanted) / 2_000_000 if wanted.isdigit() and ours else None
