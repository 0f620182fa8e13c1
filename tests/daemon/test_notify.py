"""What the service manager hears of a daemon, through a real notify socket."""

import contextlib
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.services.streamd import Streamd

HEAD = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"
plugins_dir = ["plugins.d"]
[pipeline.events]
drain_timeout = "60s"
[pipeline.events.source]
plugin = "generator"
rate = 500
[[pipeline.events.sink]]
"""
WRITES = 'id = "out"\nplugin = "file"\npath = "out.jsonl"\n'
HANGS = 'id = "out"\nplugin = "hangs"\n'
FAILS = HANGS + 'says = "the other side is away"\n'

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

# The daemon as it is, but for its patience: half a minute for each step would be long in a test.
HASTY = """
import sys
from streamd import reporting
from streamd.cli.main import main
from streamd.engine import status
for module, name, seconds in (
    (reporting, "_REPORT_EVERY", 0.3), (status, "_STALLED_AFTER", 1.0), (status, "_ILL_AFTER", 1.0)
):
    assert hasattr(module, name)
    setattr(module, name, seconds)
sys.exit(main())
"""


class Notified(Streamd):
    """A daemon under a service manager: this test, listening."""

    def __init__(self, folder: Path, sink: str, socket_path: Path, watchdog: float) -> None:
        environment = {"NOTIFY_SOCKET": str(socket_path)}
        if watchdog:
            environment["WATCHDOG_USEC"] = str(round(watchdog * 1_000_000))
        super().__init__(folder, HEAD + sink, environment)

    def prepare(self) -> None:
        super().prepare()
        (self.folder / "plugins.d").mkdir()
        (self.folder / "plugins.d" / "hangs.py").write_text(PLUGIN)

    def command(self) -> list[str]:
        return [sys.executable, "-c", HASTY, *super().command()[1:]]


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


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def says(key: str, value: str = "") -> Callable[[dict[str, str]], bool]:
    return lambda message: value in message.get(key, "") if key in message else False


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def exit_code(streamd: Streamd) -> int:
    assert streamd._process is not None
    return streamd._process.wait(20)


def test_ready_then_how_it_goes_then_the_end(tmp_path: Path, manager: Manager) -> None:
    with Notified(tmp_path / "d", WRITES, manager.path, watchdog=1) as streamd:
        before = manager.hear(says("READY", "1"))
        assert not any("STOPPING" in message for message in before)
        assert before[-1]["STATUS"].startswith("events: running")
        manager.hear(says("WATCHDOG", "1"))
        first = manager.hear(says("STATUS"))[-1]
        assert manager.hear(lambda message: "STATUS" in message and message != first)
        streamd._signal(signal.SIGTERM)
        after = manager.hear(says("STOPPING", "1"))
        assert after[-1]["STATUS"] == "draining"
        assert exit_code(streamd) == 0


@pytest.mark.parametrize("accepted", [True, False])
def test_a_reload_is_told_and_ready_follows_also_when_it_is_refused(
    tmp_path: Path, manager: Manager, accepted: bool
) -> None:
    with Notified(tmp_path / "d", WRITES, manager.path, watchdog=0) as streamd:
        manager.hear(says("READY", "1"))
        before = time.monotonic_ns() // 1000
        streamd.configure((HEAD + WRITES).replace("500", "400" if accepted else '"many"'))
        streamd._signal(signal.SIGHUP)
        begun = manager.hear(says("RELOADING", "1"))[-1]
        assert before < int(begun["MONOTONIC_USEC"]) < time.monotonic_ns() // 1000
        assert "events: " in manager.hear(says("READY", "1"))[-1]["STATUS"]
        assert streamd.metric("streamd_config_last_reload_successful") == accepted


def test_a_daemon_that_cannot_run_is_never_ready(tmp_path: Path, manager: Manager) -> None:
    streamd = Notified(tmp_path / "d", 'plugin = "no_such_sink"\n', manager.path, watchdog=1)
    with pytest.raises(Exception, match="exited at once"):
        streamd.start()
    manager._socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        manager._socket.recv(4096)


def test_a_stuck_pipeline_lets_the_watchdog_bite(tmp_path: Path, manager: Manager) -> None:
    with Notified(tmp_path / "d", HANGS, manager.path, watchdog=0.2) as streamd:
        manager.hear(says("WATCHDOG", "1"))
        wait_for(lambda: bool(streamd.status()["events"]["stuck"]))
        said = manager.hear_for(1.5)
        assert any("STATUS" in message for message in said)
        assert not any("WATCHDOG" in message for message in said)
        (streamd.folder / "go").touch()
        manager.hear(says("WATCHDOG", "1"))


def test_a_sink_that_says_why_it_fails_is_no_reason_to_restart(
    tmp_path: Path, manager: Manager
) -> None:
    with Notified(tmp_path / "d", FAILS, manager.path, watchdog=0.2) as streamd:
        wait_for(lambda: streamd.status()["events"]["stalled_for"] > 2)
        assert not streamd.status()["events"]["ready"]
        assert any("WATCHDOG" in message for message in manager.hear_for(1.5))


def test_draining_asks_for_more_time_and_stays_alive(tmp_path: Path, manager: Manager) -> None:
    with Notified(tmp_path / "d", FAILS, manager.path, watchdog=0.2) as streamd:
        manager.hear(says("READY", "1"))
        streamd._signal(signal.SIGTERM)
        manager.hear(says("STOPPING", "1"))
        asked = manager.hear(says("EXTEND_TIMEOUT_USEC"))[-1]
        assert int(asked["EXTEND_TIMEOUT_USEC"]) > 5_000_000, "longer than until it asks again"
        manager.hear(says("WATCHDOG", "1"))
        (streamd.folder / "go").touch()
        assert exit_code(streamd) == 0
