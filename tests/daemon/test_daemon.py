"""The daemon as its users run it: a process, signals, exit codes, the admin port."""

import fcntl
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services.streamd import Streamd

HEAD = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"
"""

ENDLESS = """
[pipeline.endless.source]
plugin = "generator"
rate = 500
[[pipeline.endless.sink]]
id = "out"
plugin = "file"
path = "out.jsonl"
"""

BROKEN = """
[pipeline.broken]
on_failure = "stop"
[pipeline.broken.source]
plugin = "generator"
[[pipeline.broken.transform]]
plugin = "breaks"
[[pipeline.broken.sink]]
id = "nowhere"
plugin = "drop"
"""

BREAKS = '''
"""A stage that cannot go on."""
from streamd.api import Fatal, Plugin, StageConfig, hookimpl


class Breaks:
    """Fails for good."""

    class Config(StageConfig, frozen=True):
        pass

    def __init__(self, config, context):
        pass

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc_info):
        return None

    def process(self, batch):
        raise Fatal("it is broken")


@hookimpl
def streamd_plugins():
    return [Plugin("transform", "breaks", Breaks)]
'''


def exit_code(streamd: Streamd) -> int:
    process = streamd._process
    assert process is not None
    return process.wait(20)


def numbers(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_sigterm_drains_and_a_restart_goes_on_where_it_stopped(tmp_path: Path) -> None:
    streamd = Streamd(tmp_path / "d", HEAD + ENDLESS)
    out = tmp_path / "d" / "out.jsonl"
    with streamd:
        wait_for(lambda: streamd.status()["endless"]["read"] > 300)
        streamd._signal(signal.SIGTERM)
        assert exit_code(streamd) == 0
        first = numbers(out)
        assert "draining" in streamd.last_words()
        streamd.start()
        wait_for(lambda: streamd.status()["endless"]["read"] > 300)
        streamd._signal(signal.SIGTERM)
        assert exit_code(streamd) == 0
        both = numbers(out)
    assert len(both) > len(first) + 200
    assert len(set(both)) == len(both), "a drained daemon repeats nothing"


def test_one_failing_pipeline_does_not_stop_the_others(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins.d"
    plugins.mkdir()
    (plugins / "breaks.py").write_text(BREAKS)
    head = HEAD + f'plugins_dir = ["{plugins}"]\n'
    streamd = Streamd(tmp_path / "d", head + ENDLESS + BROKEN)
    with streamd:
        wait_for(lambda: streamd.status()["broken"]["state"] == "failed")
        read = streamd.status()["endless"]["read"]
        wait_for(lambda: streamd.status()["endless"]["read"] > read)
        code, body = streamd.get("/readyz")
        assert code == 503
        assert json.loads(body)["problems"]["broken"][0] == "it is broken"
        assert json.loads(body)["problems"]["endless"] == []
        assert streamd.metric("streamd_pipeline_up") == 1


def test_a_pipeline_that_the_daemon_cannot_do_without_ends_it(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins.d"
    plugins.mkdir()
    (plugins / "breaks.py").write_text(BREAKS)
    head = HEAD + f'plugins_dir = ["{plugins}"]\n'
    broken = BROKEN.replace('"stop"', '"exit"')
    streamd = Streamd(tmp_path / "d", head + ENDLESS + broken)
    streamd.folder.mkdir()
    streamd.prepare()
    done = subprocess.run(streamd.command(), cwd=streamd.folder, capture_output=True, timeout=20)
    assert done.returncode == 1


def test_healthy_and_ready_with_the_promised_metrics(tmp_path: Path) -> None:
    with Streamd(tmp_path / "d", HEAD + ENDLESS) as streamd:
        wait_for(lambda: streamd.metric("consumer_messages_processed_total") > 0)
        assert streamd.get("/readyz")[0] == 200
        body = streamd.get("/metrics")[1]
        for name in (
            'consumer_messages_processed_total{status="success"}',
            'consumer_messages_processed_total{status="retried"}',
            'consumer_messages_processed_total{status="dlq"}',
            "consumer_processing_duration_seconds_bucket",
            "dlq_retry_attempts_total",
            'dlq_backlog_size{pipeline="endless"} 0.0',
            'streamd_events_total{pipeline="endless",stage="out"}',
            'streamd_queue_events{pipeline="endless",stage="out"}',
            'streamd_pipeline_up{pipeline="endless"} 1.0',
        ):
            assert name in body


def test_a_bounded_pipeline_ends_the_daemon_with_0(tmp_path: Path) -> None:
    streamd = Streamd(tmp_path / "d", HEAD + ENDLESS.replace("rate = 500", "rate = 0\ncount = 700"))
    streamd.folder.mkdir()
    streamd.prepare()
    done = subprocess.run(streamd.command(), cwd=streamd.folder, capture_output=True, timeout=20)
    assert done.returncode == 0
    assert len(numbers(streamd.folder / "out.jsonl")) == 700


def test_a_second_daemon_on_the_same_state_is_refused(tmp_path: Path) -> None:
    streamd = Streamd(tmp_path / "d", HEAD + ENDLESS)
    streamd.folder.mkdir()
    streamd.prepare()
    (streamd.folder / "var").mkdir()
    with (streamd.folder / "var" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            streamd.command(), cwd=streamd.folder, capture_output=True, timeout=20, text=True
        )
    assert done.returncode == 75
    assert "Another streamd is running" in done.stderr


@pytest.mark.parametrize("text", ["not toml", '[pipeline.a.source]\nplugin = "no_such_source"'])
def test_a_wrong_configuration_exits_with_78(tmp_path: Path, text: str) -> None:
    streamd = Streamd(tmp_path / "d", text)
    streamd.folder.mkdir()
    streamd.prepare()
    done = subprocess.run(
        streamd.command(), cwd=streamd.folder, capture_output=True, timeout=20, text=True
    )
    assert done.returncode == 78
    assert done.stderr.startswith("streamd.toml:")
