"""`streamd tap` beside a running daemon: what it shows, and that the daemon feels nothing of it."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.services.streamd import Streamd

STREAMD = str(Path(sys.executable).parent / "streamd")

CONFIG = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"
log_format = "json"

[pipeline.visits.source]
id = "clicks"
plugin = "generator"
rate = 2000
invalid = 0.02

[[pipeline.visits.validate]]
id = "check"
plugin = "event"

[[pipeline.visits.transform]]
id = "route"
plugin = "split"
routes = { errors = 'payload.event_type == "error"' }

[[pipeline.visits.window]]
id = "per_tenth"
plugin = "tumbling"
size = "100ms"
key = ["payload.source"]
time = "timestamp"
aggregate = { events = "count()" }

[[pipeline.visits.sink]]
id = "all"
plugin = "drop"
inputs = ["main", "errors"]

[[pipeline.visits.sink]]
id = "counts"
plugin = "drop"
inputs = ["per_tenth", "per_tenth.late"]

[[pipeline.visits.sink]]
id = "dead"
plugin = "drop"
inputs = ["dead_letters"]

[pipeline.flood.source]
id = "clicks"
plugin = "generator"
rate = 20000

[[pipeline.flood.sink]]
id = "none"
plugin = "drop"
"""


class Rig:
    """A daemon, and the command beside it."""

    def __init__(self, folder: Path) -> None:
        self.daemon = Streamd(folder, CONFIG)
        self.folder = folder

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [STREAMD, "tap", *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def tap(self, *arguments: str, status: int = 0) -> tuple[list[dict[str, Any]], str]:
        """Events and messages of a tap that ends by itself."""
        with self.start(*arguments) as process:
            try:
                out, told = process.communicate(timeout=60)
            finally:
                process.kill()
        assert process.returncode == status, (process.returncode, out[:500], told)
        return [json.loads(line) for line in out.splitlines()], told

    @contextmanager
    def following(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A tap that has begun to print; killed at the end, if it still runs."""
        with self.start(*arguments) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline()
                yield process
            finally:
                process.kill()

    def read(self, pipeline: str = "flood") -> int:
        """Events that the pipeline has read so far."""
        count: int = self.daemon.status()[pipeline]["read"]
        return count

    def reload(self, text: str) -> None:
        told = self._reloads()
        self.daemon.configure(text)
        self.daemon._signal(signal.SIGHUP)
        wait_for(lambda: self._reloads() > told)

    def _reloads(self) -> int:
        return self.daemon.log.read_text().count('"Reloaded"')


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "d")
    rig.daemon.start()
    yield rig
    rig.daemon.stop()
    words = rig.daemon.last_words(1000)
    rig.daemon.close()
    assert "Traceback" not in words
    assert '"level":"error"' not in words


def test_every_kind_of_stage_can_be_tapped(rig: Rig) -> None:
    found, told = rig.tap("check", "--limit", "20")
    assert len(found) == 20
    assert "tapping the validate visits/check" in told
    offsets = [one["offset"] for one in found]
    assert offsets == sorted(set(offsets))
    first = found[0]
    assert {"pipeline": "visits", "stage": "check", "stream": "main"}.items() <= first.items()
    assert first["partition"] == "generator:0"
    assert first["value"]["id"] == f"evt_{first['offset']}"

    found, _ = rig.tap("visits/clicks", "--limit", "5", "--sample", "100")
    assert [one["value"]["id"] for one in found] == [f"evt_{one['offset']}" for one in found]
    gaps = [b["offset"] - a["offset"] for a, b in pairwise(found)]
    assert max(gaps) > 50, "one in a hundred"

    found, _ = rig.tap("route.errors", "--limit", "5")
    assert {one["stream"] for one in found} == {"errors"}
    assert {one["value"]["payload"]["event_type"] for one in found} == {"error"}

    found, _ = rig.tap("per_tenth", "--limit", "3", "--filter", 'key.source == "billing"')
    assert [one["value"]["events"] > 0 for one in found] == [True] * 3
    assert all(one["partition"] == "per_tenth:generator:0" for one in found)

    found, _ = rig.tap("all", "--limit", "2", "--filter", 'payload.event_type == "error"')
    assert all(one["value"]["payload"]["event_type"] == "error" for one in found)
    assert "stream" not in found[0]

    found, _ = rig.tap("check", "--rejects", "--limit", "3")
    assert all(one["error"]["reason"] for one in found)
    letters, _ = rig.tap("dead", "--limit", "1")
    assert letters[0]["value"]["stage"] == "check"


def test_what_cannot_be_tapped_is_refused_with_a_hint(rig: Rig) -> None:
    for name, hint in {
        "chek": 'did you mean "check"?',
        "clicks": "visits/clicks, flood/clicks",
        "flod/none": 'did you mean "flood"?',
        "route.error": 'did you mean "errors"?',
    }.items():
        found, told = rig.tap(name, status=1)
        assert not found
        assert hint in told
    _, told = rig.tap("check", "--filter", "id ==", status=1)
    assert "column" in told
    for option in (["--sample", "0"], ["--sample", "1.5"], ["--limit", "0"]):
        rig.tap("check", *option, status=2)


def test_without_a_daemon_there_is_a_clear_message(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.daemon.configure(CONFIG)
    _, told = rig.tap("check", status=1)
    assert told == "streamd tap: no daemon runs on var\n"


def test_a_client_that_is_killed_or_has_had_enough_leaves_nothing_behind(rig: Rig) -> None:
    for _ in range(3):
        with rig.following("none") as process:
            process.kill()
    shell = f"{STREAMD} tap none | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell],
        cwd=rig.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stage"] == "none"
    assert "Traceback" not in done.stderr
    with rig.following("check") as tap:
        tap.send_signal(signal.SIGINT)
        out, told = tap.communicate(timeout=20)
        assert tap.returncode == 0, told
        assert "Traceback" not in told
        assert all(json.loads(line) for line in out.splitlines()[:-1])
    before = rig.read()
    wait_for(lambda: rig.read() > before + 20_000)


def test_a_client_that_reads_nothing_costs_no_memory_and_holds_nothing_up(rig: Rig) -> None:
    told = rig.folder / "told"
    with told.open("w") as errors:
        process = subprocess.Popen(
            [STREAMD, "tap", "none"], cwd=rig.folder, stdout=subprocess.DEVNULL, stderr=errors
        )
    try:
        wait_for(lambda: "tapping" in told.read_text())
        process.send_signal(signal.SIGSTOP)
        before, held = rig.read(), resident(rig)
        wait_for(lambda: rig.read() > before + 100_000)
        assert resident(rig) - held < 30_000, "KiB"
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: "there are more events than can be shown" in told.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
    count = told.read_text().split()[-8]
    assert int(count) > 50_000


def resident(rig: Rig) -> int:
    """Memory of the daemon in KiB."""
    assert rig.daemon._process is not None
    text = Path(f"/proc/{rig.daemon._process.pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1])


def test_a_reload_keeps_the_tap_or_ends_it_with_a_message(rig: Rig) -> None:
    with rig.following("route.errors") as process:
        rig.reload(CONFIG.replace('"error"', '"metric"'))
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
        reader.start()
        wait_for(lambda: any('"event_type":"metric"' in line for line in lines))
        rig.reload(CONFIG.replace("errors", "failures"))
        assert process.wait(20) == 1
        reader.join()
        assert process.stderr is not None
        told = process.stderr.read()
    assert "there is no transform visits/route, stream errors any more" in told
    assert json.loads(lines[-1])["stream"] == "errors"


def test_a_daemon_that_ends_ends_the_tap_with_a_message(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "d")
    rig.daemon.start()
    try:
        with rig.following("check") as process:
            rig.daemon.stop()
            _, told = process.communicate(timeout=20)
        assert process.returncode == 1
        assert "has ended" in told
    finally:
        rig.daemon.close()
