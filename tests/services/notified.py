"""A daemon whose service manager is the test: both ends of systemd's notify protocol."""

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

from tests.services.streamd import Streamd

PLUGIN = '''
"""A sink that does not get on: it hangs, or says why, until a file lets it go."""
from pathlib import Path
from typing import Annotated

import anyio
from streamd.api import BatchLimits, Plugin, Retryable, StageConfig, doc, hookimpl


class Hangs:
    """Stores nothing until there is a file `go`."""

    batch = BatchLimits()

    class Config(StageConfig, frozen=True):
        says: Annotated[str, doc("Why.")] = ""

    def __init__(self, config, context):
        self.says = config.says

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc_info):
        return None

    async def write(self, batch):
        while not Path("go").exists():
            await anyio.sleep(0.05)
            if self.says:
                raise Retryable(self.says)


@hookimpl
def streamd_plugins():
    return [Plugin("sink", "hangs", Hangs)]
'''

PATIENCE = {
    "streamd.reporting._REPORT_EVERY": 0.3,
    "streamd.engine.status._STALLED_AFTER": 1.0,
    "streamd.engine.status._ILL_AFTER": 1.0,
}


class Notified(Streamd):
    """A daemon under a service manager: this test, listening."""

    def __init__(
        self, folder: Path, configuration: str, socket_path: Path, watchdog: float
    ) -> None:
        environment = {"NOTIFY_SOCKET": str(socket_path)}
        if watchdog:
            environment["WATCHDOG_USEC"] = str(round(watchdog * 1_000_000))
        super().__init__(folder, configuration, environment, PATIENCE)

    def prepare(self) -> None:
        super().prepare()
        (self.folder / "plugins.d").mkdir()
        (self.folder / "plugins.d" / "hangs.py").write_text(PLUGIN)


class Manager:
    """Hears messages; each is a datagram, as a dict of its lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def hear(self, until: Callable[[dict[str, str]], bool]) -> list[dict[str, str]]:
        """All messages up to the first that is wanted."""
        deadline = time.monotonic() + 20
        heard: list[dict[str, str]] = []
        while not heard or not until(heard[-1]):
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            lines = self._socket.recv(4096).decode().split("\n")
            heard.append(dict(line.split("=", 1) for line in lines))
        return heard

    def hear_for(self, seconds: float) -> list[dict[str, str]]:
        """What is said from now on; something is said all the time."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(4096):
                pass
        deadline = time.monotonic() + seconds
        return self.hear(lambda _message: time.monotonic() >= deadline)

    def close(self) -> None:
        self._socket.close()


def says(key: str, value: str = "") -> Callable[[dict[str, str]], bool]:
    return lambda message: value in message.get(key, "") if key in message else False
