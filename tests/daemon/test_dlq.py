"""`streamd dlq` beside a running daemon: from a sink that is down to an empty store."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.streamd import Streamd

STREAMD = str(Path(sys.executable).parent / "streamd")

PLUGIN = '''
from pathlib import Path
import anyio
from streamd.api import Permanent, Plugin, Reject, Rejected, Rejects, StageConfig, hookimpl


class Gate:
    """Stores lines; while the file "down" is there it refuses. The file "slow" makes it slow."""

    class Config(StageConfig, frozen=True):
        pass

    batch = __import__("streamd.api").api.BatchLimits(rows=100)

    def __init__(self, config, context):
        self.path = Path(f"{context.stage}.rows")

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        return None

    async def write(self, batch):
        if Path("down").exists():
            raise Rejected({row: Reject("down", "it is down") for row in range(len(batch))})
        if Path("slow").exists():
            await anyio.sleep(0.3)
        with self.path.open("a") as file:
            for row, value in enumerate(batch.values):
                partition, offset = batch.locate(row)
                file.write(f"{value['id']} {partition} {offset} {value.get('by', '')}\\n")


class Check(Gate):
    """Refuses events while the file "down" is there."""

    def process(self, batch):
        if Path("down").exists():
            return [Rejects({row: Reject("checked", "no") for row in range(len(batch))})]
        return [batch]


@hookimpl
def streamd_plugins():
    return [Plugin("sink", "gate", Gate), Plugin("transform", "check", Check)]
'''

CONFIG = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"
plugins_dir = ["plugins.d"]
log_format = "json"

[pipeline.events]
epoch_time = "100ms"

[pipeline.events.source]
plugin = "file"
path = "in.jsonl"
follow = true
interval = "20ms"

#STEP
[[pipeline.events.sink]]
id = "good"
plugin = "file"
path = "good.jsonl"

[[pipeline.events.sink]]
id = "late"
plugin = "gate"

[[pipeline.events.sink]]
id = "dead"
inputs = ["dead_letters"]
#STORE
"""

STORES = {
    "files": 'plugin = "file"',
    "lines": 'plugin = "file"\nfiles = "lines"\npath = "dead.jsonl"',
    "sqlite": 'plugin = "sqlite"\npath = "dead.db"\ntable = "dead"',
}


class Rig:
    """A daemon with a sink that can be taken down, and the command beside it."""

    def __init__(self, folder: Path, text: str) -> None:
        (folder / "plugins.d").mkdir(parents=True)
        (folder / "plugins.d" / "gate.py").write_text(PLUGIN)
        self.folder = folder
        self.daemon = Streamd(folder, text)
        self.daemon.configure(text)

    def add(self, count: int, first: int = 0) -> None:
        with (self.folder / "in.jsonl").open("a") as file:
            file.writelines(
                json.dumps({"id": f"e{number}", "n": number}) + "\n"
                for number in range(first, first + count)
            )

    def down(self, *, is_down: bool) -> None:
        path = self.folder / "down"
        path.touch() if is_down else path.unlink()

    def dlq(self, *arguments: str, status: int | None = 0) -> str:
        done = subprocess.run(
            [STREAMD, "dlq", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert status in (None, done.returncode), (done.returncode, done.stdout, done.stderr)
        self.told = done.stderr
        return done.stdout

    def letters(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.dlq("list", "--json").splitlines()]

    def late(self) -> list[list[str]]:
        path = self.folder / "late.rows"
        return [line.split(" ") for line in path.read_text().splitlines()] if path.exists() else []

    def good(self) -> list[str]:
        lines = (self.folder / "good.jsonl").read_text().splitlines()
        return [json.loads(line)["id"] for line in lines]

    def until_stored(self, count: int) -> None:
        wait_for(lambda: len(self.late()) >= count)

    def until_buried(self, count: int) -> None:
        wait_for(lambda: self.daemon.metric("dlq_messages_total") >= count)
        wait_for(lambda: self.daemon.status()["events"]["in_flight_events"] == 0)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def rig_of(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(store: str = "files", step: str = "") -> Rig:
        text = CONFIG.replace("#STORE", STORES[store]).replace("#STEP", step)
        rigs.append(Rig(tmp_path / "d", text))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.daemon.close()


@pytest.mark.parametrize("store", STORES)
def test_letters_go_back_to_the_sink_that_failed_and_to_no_other(
    rig_of: Callable[..., Rig], store: str
) -> None:
    rig = rig_of(store)
    rig.down(is_down=True)
    rig.add(250)
    rig.daemon.start()
    rig.until_buried(250)
    assert len(rig.letters()) == 250
    rig.down(is_down=False)
    out = rig.dlq("replay", "--batch", "100")
    assert out == "250 done\n"
    assert Counter(row[0] for row in rig.late()) == Counter(f"e{n}" for n in range(250))
    assert Counter(rig.good()) == Counter(f"e{n}" for n in range(250))
    assert rig.letters() == []
    offsets = {row[0]: row[2] for row in rig.late()}
    assert offsets["e0"] == "0", "an event keeps its place"
    rig.daemon.stop()
    assert rig.daemon.last_words().count("Traceback") == 0


def test_a_replay_that_is_killed_goes_on_and_repeats_one_batch_at_most(
    rig_of: Callable[..., Rig],
) -> None:
    rig = rig_of("files")
    rig.down(is_down=True)
    rig.add(400)
    rig.daemon.start()
    rig.until_buried(400)
    (rig.folder / "slow").touch()
    rig.down(is_down=False)
    command = [STREAMD, "dlq", "replay", "--batch", "20"]
    for stored in (60, 160):
        process = subprocess.Popen(command, cwd=rig.folder, stdout=subprocess.DEVNULL)
        rig.until_stored(stored)
        process.send_signal(signal.SIGKILL)
        process.wait()
    (rig.folder / "slow").unlink()
    wait_for(lambda: rig.daemon.status()["events"]["in_flight_events"] == 0)
    rig.dlq("replay")
    seen = Counter(row[0] for row in rig.late())
    assert set(seen) == {f"e{n}" for n in range(400)}
    repeated = {name for name, count in seen.items() if count > 1}
    assert len(repeated) <= 2 * 20
    assert max(seen.values()) <= 2
    if repeated:
        assert "cut short" in rig.told
    assert rig.letters() == []


def test_a_letter_that_keeps_failing_counts_on_and_is_parked(rig_of: Callable[..., Rig]) -> None:
    rig = rig_of()
    rig.down(is_down=True)
    rig.add(3)
    rig.daemon.start()
    rig.until_buried(3)
    for number in (1, 2):
        out = rig.dlq("replay", "--max-attempts", "2", status=1)
        assert out.startswith("3 dead lettered")
        assert [letter["replays"] for letter in rig.letters()] == [number] * 3
    assert all(letter["parked"] for letter in rig.letters())
    assert rig.dlq("replay") == "no letters\n"
    assert "3 of them parked" in rig.dlq("stats")
    rig.down(is_down=False)
    assert rig.dlq("replay", "--parked", "--limit", "2") == "2 done\n"
    assert rig.dlq("discard", "--parked") == "1 letters discarded\n"
    assert rig.letters() == []


@pytest.mark.parametrize("store", STORES)
def test_the_backlog_is_true_after_a_restart(rig_of: Callable[..., Rig], store: str) -> None:
    rig = rig_of(store)
    rig.down(is_down=True)
    rig.add(20)
    rig.daemon.start()
    rig.until_buried(20)
    rig.daemon.kill()
    rig.dlq("discard", "--limit", "5")
    rig.daemon.start()
    wait_for(lambda: rig.daemon.metric("dlq_backlog_size") == 15)
    assert len(rig.letters()) == 15


def test_nobody_is_troubled_by_a_reader_that_has_had_enough(rig_of: Callable[..., Rig]) -> None:
    rig = rig_of()
    rig.down(is_down=True)
    rig.add(2000)
    rig.daemon.start()
    rig.until_buried(2000)
    shell = f"{STREAMD} dlq list --json | head -1"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=rig.folder, capture_output=True, timeout=60, check=False
    )
    assert json.loads(done.stdout)
    assert done.stderr == b""


@pytest.mark.parametrize("store", ["lines", "sqlite"])
def test_a_store_that_appends_lets_each_letter_in_once_a_run(
    rig_of: Callable[..., Rig], store: str
) -> None:
    """What fails again comes up behind the others in the same store."""
    rig = rig_of(store)
    rig.down(is_down=True)
    rig.add(30)
    rig.daemon.start()
    rig.until_buried(30)
    out = rig.dlq("replay", "--batch", "10", status=1)
    assert out.startswith("30 dead lettered")
    letters = rig.letters()
    assert [letter["replays"] for letter in letters] == [1] * 30
    assert {letter["attempts"] for letter in letters} == {2}


def test_letters_can_be_changed_on_their_way(rig_of: Callable[..., Rig], tmp_path: Path) -> None:
    rig = rig_of()
    rig.down(is_down=True)
    rig.add(4)
    rig.daemon.start()
    rig.until_buried(4)
    rig.down(is_down=False)
    edit = 'plugin = "map", set = { by = "\'hand-\' + id" }'
    assert rig.dlq("replay", "--edit", edit, "--limit", "2") == "2 done\n"
    assert {row[3] for row in rig.late()} == {f"hand-{row[0]}" for row in rig.late()}
    only = 'plugin = "filter", condition = "id == \'e9\'"'
    out = rig.dlq("replay", "--edit", only, status=1)
    assert "2 left by the edit" in out
    assert len(rig.letters()) == 2
    assert "no transform is called" in (
        rig.dlq("replay", "--edit", 'plugin = "x"', status=1) + rig.told
    )
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i -e \'s/"n":/"by":"me","n":/\' -e 1d "$1"\n')
    editor.chmod(0o755)
    environment = {**os.environ, "EDITOR": str(editor), "VISUAL": ""}
    done = subprocess.run(
        [STREAMD, "dlq", "replay", "--editor"],
        cwd=rig.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "1 done" in done.stdout, done.stderr
    assert "1 left by the edit" in done.stdout
    assert rig.late()[-1][3] == "me"
    assert len(rig.letters()) == 1


def test_a_step_takes_its_letters_back_and_all_sinks_get_them(rig_of: Callable[..., Rig]) -> None:
    rig = rig_of(step='[[pipeline.events.transform]]\nplugin = "check"\n')
    rig.down(is_down=True)
    rig.add(5)
    with (rig.folder / "in.jsonl").open("a") as file:
        file.write("no json\n")
    rig.daemon.start()
    rig.until_buried(6)
    rig.down(is_down=False)
    out = rig.dlq("replay", status=1)
    assert out.startswith(("5 done, 1 dead lettered", "1 dead lettered, 5 done"))
    assert Counter(row[0] for row in rig.late()) == Counter(f"e{n}" for n in range(5))
    assert Counter(rig.good()) == Counter(f"e{n}" for n in range(5))
    (left,) = rig.letters()
    assert (left["stage"], left["replays"]) == ("file", 1)


def test_the_whole_way_gives_it_to_every_sink(rig_of: Callable[..., Rig]) -> None:
    rig = rig_of()
    rig.down(is_down=True)
    rig.add(3)
    rig.daemon.start()
    rig.until_buried(3)
    rig.down(is_down=False)
    assert rig.dlq("replay", "--through-pipeline") == "3 done\n"
    assert Counter(rig.good()) == Counter({f"e{n}": 2 for n in range(3)})
    assert len(rig.late()) == 3


def test_what_a_person_asks_for(rig_of: Callable[..., Rig]) -> None:
    rig = rig_of()
    rig.down(is_down=True)
    rig.add(5)
    rig.daemon.start()
    rig.until_buried(5)
    socket = rig.folder / "var" / "control.sock"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    first, *_ = rig.letters()
    shown = json.loads(rig.dlq("show", first["dlq_id"]))
    assert shown == first
    rig.dlq("show", "nothing", status=1)
    assert json.loads(rig.dlq("stats", "--json"))["stage"] == {"late": 5}
    assert len(rig.dlq("list", "--reason", "down").splitlines()) == 6
    assert rig.dlq("list", "--reason", "other") == ""
    assert rig.dlq("list", "--until", "1h") == ""
    assert len(rig.dlq("list", "--since", "1h", "--stage", "late").splitlines()) == 6
    after = rig.dlq("list", "--json", "--after", first["place"]).splitlines()
    assert len(after) == 4
    rig.dlq("discard", status=2)
    assert rig.dlq("discard", "--id", first["dlq_id"], "--dry-run").startswith("1 ")
    assert rig.dlq("discard", "--id", first["dlq_id"]).startswith("1 ")
    assert rig.dlq("replay", "--dry-run").count("down") == 4
    assert rig.dlq("archive", "kept", "--limit", "3").startswith("3 ")
    kept = [json.loads(path.read_text()) for path in (rig.folder / "kept").rglob("*.json")]
    assert len(kept) == 3
    assert len(rig.letters()) == 1
    rig.dlq("list", "--since", "whenever", status=2)
    rig.dlq("list", "--sink", "good", status=1)
    assert "dead" in rig.told
    rig.daemon.stop()
    rig.dlq("replay", status=1)
    assert "no daemon runs" in rig.told
    assert len(rig.letters()) == 1


def test_letters_that_no_sink_took_are_replayed_from_their_file(
    rig_of: Callable[..., Rig],
) -> None:
    rig = rig_of("sqlite")
    db = rig.folder / "dead.db"
    with sqlite3.connect(db) as connection:
        connection.execute(
            "CREATE TABLE dead (id TEXT CHECK (0), timestamp, event, partition, offset,"
            " streamd_row BLOB UNIQUE)"
        )
    connection.close()
    rig.down(is_down=True)
    rig.add(5)
    rig.daemon.start()
    rig.until_buried(5)
    assert rig.letters() == []
    assert "--spilled" in rig.told
    rig.down(is_down=False)
    assert rig.dlq("replay", "--spilled") == "5 done\n"
    assert len(rig.late()) == 5
    assert os.listdir(rig.folder / "var" / "dead_letters") == []
