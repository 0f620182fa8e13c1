"""What the service manager hears of a daemon, through a real notify socket."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.services.notified import Manager, Notified, says
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


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def exit_code(streamd: Streamd) -> int:
    assert streamd._process is not None
    return streamd._process.wait(20)


def test_ready_then_how_it_goes_then_the_end(tmp_path: Path, manager: Manager) -> None:
    with Notified(tmp_path / "d", HEAD + WRITES, manager.path, watchdog=1) as streamd:
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
    with Notified(tmp_path / "d", HEAD + WRITES, manager.path, watchdog=0) as streamd:
        manager.hear(says("READY", "1"))
        before = time.monotonic_ns() // 1000
        streamd.configure((HEAD + WRITES).replace("500", "400" if accepted else '"many"'))
        streamd._signal(signal.SIGHUP)
        begun = manager.hear(says("RELOADING", "1"))[-1]
        assert before < int(begun["MONOTONIC_USEC"]) < time.monotonic_ns() // 1000
        assert "events: " in manager.hear(says("READY", "1"))[-1]["STATUS"]
        assert streamd.metric("streamd_config_last_reload_successful") == accepted


def test_a_daemon_that_cannot_run_is_never_ready(tmp_path: Path, manager: Manager) -> None:
    streamd = Notified(tmp_path / "d", HEAD + 'plugin = "no_such_sink"\n', manager.path, watchdog=1)
    with pytest.raises(Exception, match="exited at once"):
        streamd.start()
    manager._socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        manager._socket.recv(4096)


def test_a_stuck_pipeline_lets_the_watchdog_bite(tmp_path: Path, manager: Manager) -> None:
    with Notified(tmp_path / "d", HEAD + HANGS, manager.path, watchdog=0.2) as streamd:
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
    with Notified(tmp_path / "d", HEAD + FAILS, manager.path, watchdog=0.2) as streamd:
        wait_for(lambda: streamd.status()["events"]["stalled_for"] > 2)
        assert not streamd.status()["events"]["ready"]
        assert any("WATCHDOG" in message for message in manager.hear_for(1.5))


def test_draining_asks_for_more_time_and_stays_alive(tmp_path: Path, manager: Manager) -> None:
    with Notified(tmp_path / "d", HEAD + FAILS, manager.path, watchdog=0.2) as streamd:
        manager.hear(says("READY", "1"))
        streamd._signal(signal.SIGTERM)
        manager.hear(says("STOPPING", "1"))
        asked = manager.hear(says("EXTEND_TIMEOUT_USEC"))[-1]
        assert int(asked["EXTEND_TIMEOUT_USEC"]) > 5_000_000, "longer than until it asks again"
        manager.hear(says("WATCHDOG", "1"))
        (streamd.folder / "go").touch()
        assert exit_code(streamd) == 0
