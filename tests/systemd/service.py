"""A streamd service of the machine, as whoever operates it sees it."""

import time
from collections.abc import Callable
from typing import Any

from tests.systemd.machine import Machine


class Service:
    """`streamd` or `streamd@NAME`, installed by `streamd install` to run a configuration."""

    def __init__(self, machine: Machine, configuration: str, instance: str = "") -> None:
        self.name = f"streamd@{instance}" if instance else "streamd"
        self.config = f"/etc/streamd/{instance or 'streamd'}.toml"
        self.state = f"/var/lib/streamd-{instance}" if instance else "/var/lib/streamd"
        self._machine = machine
        self.configure(configuration)
        how = "--instance" if instance else ""
        machine.run(
            f"streamd --config {self.config} install --systemd {how} --output /etc/systemd/system"
            " && systemctl daemon-reload"
        )

    def configure(self, text: str) -> None:
        self._machine.write(self.config, text)

    def drop_in(self, *settings: str) -> None:
        """What `systemctl edit` would make."""
        path = f"/etc/systemd/system/{self.name}.service.d/test.conf"
        self._machine.write(path, "\n".join(["[Service]", *settings, ""]))
        self._machine.run("systemctl daemon-reload")

    def ctl(self, verb: str, *, fails: bool = False) -> str:
        """systemctl; what the journal has is told where it fails unexpectedly."""
        try:
            return self._machine.run(f"systemctl {verb} {self.name}", fails=fails)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._machine.journal()}") from None

    def show(self, key: str) -> str:
        return self._machine.run(f"systemctl show {self.name} --value --property={key}")

    @property
    def state_now(self) -> str:
        return f"{self.show('ActiveState')} {self.show('SubState')}"

    @property
    def pid(self) -> int:
        """Of the daemon, as inside."""
        return int(self.show("MainPID"))

    def until(self, key: str, wanted: Callable[[str], Any], timeout: float = 40) -> str:
        """A property of the unit once it is as wanted."""
        deadline = time.monotonic() + timeout
        while not wanted(value := self.show(key)):
            assert time.monotonic() < deadline, f"{key} is {value}\n{self._machine.journal()}"
            time.sleep(0.1)
        return value

    def until_another(self, pid: int) -> None:
        """Until another process than this is the daemon, and works."""
        self.until("MainPID", lambda now: now not in ("0", str(pid)))
        self.until("SubState", lambda state: state == "running")

    def stored(self, what: str = "count(*)") -> Any:
        """A figure of the table `events` in `events.db` of the state directory."""
        script = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=20);"
            f" print(c.execute('SELECT {what} FROM events').fetchone()[0])"
        )
        told = self._machine.run(f'/opt/streamd/bin/python -c "{script}" {self.state}/events.db')
        return int(told)
