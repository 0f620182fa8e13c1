"""The daemon with an HTTP source: what a 2xx promises, through kills, stops and blocked sinks."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import msgspec
import pytest

from tests.plugins.streamd_http.helpers import JSON, NDJSON, Client, encoded, event
from tests.services.server import free_ports
from tests.services.streamd import Streamd

CONFIG = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"
plugins_dir = ["PLUGINS"]

[pipeline.events]
max_events = 1000

[pipeline.events.source]
plugin = "http"
listen = "127.0.0.1:PORT"
SOURCE
[[pipeline.events.validate]]
plugin = "event"

[[pipeline.events.policy]]
plugin = "retry"
[[pipeline.events.policy]]
plugin = "dead_letter"

[[pipeline.events.sink]]
id = "store"
plugin = "SINK"

[[pipeline.events.sink]]
id = "failed"
plugin = "sqlite"
inputs = ["dead_letters"]
path = "failed.db"
"""
FILE = 'file"\npath = "out.jsonl'
SQLITE = 'sqlite"\npath = "out.db'

PLUGIN = '''
"""A sink that refuses some events, and stores none while a file says so."""
import json
from pathlib import Path

import anyio

from streamd.api import BatchLimits, Plugin, Reject, Rejected, StageConfig, hookimpl


class Gate:
    """Events as lines."""

    batch = BatchLimits(rows=10)

    class Config(StageConfig, frozen=True):
        pass

    def __init__(self, config, context):
        pass

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc_info):
        return None

    async def write(self, batch):
        while Path("shut").exists():
            await anyio.sleep(0.01)
        bad = {row for row, raw in enumerate(batch.raws) if b"refuse" in raw}
        with open("out.jsonl", "ab") as out:
            out.writelines(raw + b"\\\\n" for row, raw in enumerate(batch.raws) if row not in bad)
        if bad:
            raise Rejected({row: Reject("refused", "no room for it") for row in bad})


@hookimpl
def streamd_plugins():
    return [Plugin("sink", "gate", Gate)]
'''


class Daemon(Streamd):
    def __init__(self, folder: Path, sink: str = FILE, source: str = "") -> None:
        plugins = folder / "plugins.d"
        plugins.mkdir()
        (plugins / "gate.py").write_text(PLUGIN.replace("\\\\n", "\\n"))
        (self.listening,) = free_ports(1)
        text = CONFIG.replace("PORT", str(self.listening)).replace("PLUGINS", str(plugins))
        super().__init__(folder / "d", text.replace("SOURCE", source).replace("SINK", sink))

    def ids(self) -> list[str]:
        if (self.folder / "out.db").exists():
            return [str(row[0]) for row in self._rows("out.db", "id")]
        whole, _, _torn = (self.folder / "out.jsonl").read_bytes().rpartition(b"\n")
        return [json.loads(line)["id"] for line in whole.splitlines()]

    def dead_letters(self) -> list[Any]:
        return [json.loads(row[0]) for row in self._rows("failed.db", "event")]

    def _rows(self, name: str, column: str) -> list[Any]:
        with closing(sqlite3.connect(self.folder / name)) as db:
            return db.execute(f"SELECT {column} FROM events").fetchall()


@asynccontextmanager
async def daemon(
    folder: Path, sink: str = FILE, source: str = ""
) -> AsyncIterator[tuple[Daemon, Client]]:
    server = Daemon(folder, sink, source)
    with server:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            client = Client(session, f"http://127.0.0.1:{server.listening}")
            await until(lambda: "Listening" in server.last_words())
            yield server, client


async def until(condition: Callable[[], bool]) -> None:
    """Look until it is true."""
    deadline = anyio.current_time() + 60
    while not condition():
        assert anyio.current_time() < deadline
        await anyio.sleep(0.01)


class Load:
    """Clients that send without pause; `acknowledged` are the ids that were answered with 2xx."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.acknowledged: set[str] = set()
        self.sent = 0
        self.statuses: Counter[int] = Counter()

    async def run(self, size: int) -> None:
        while True:
            names = [f"evt_{self.sent + n}" for n in range(size)]
            self.sent += size
            body = b"\n".join(map(encoded, names))
            try:
                status, _ = await self.client.post(body, NDJSON)
            except aiohttp.ClientConnectionError:
                await anyio.sleep(0.02)
                continue
            self.statuses[status] += 1
            if status < 300:
                self.acknowledged.update(names)


@pytest.mark.parametrize("sink", [FILE, SQLITE], ids=["file", "sqlite"])
async def test_what_was_answered_is_stored_whenever_the_daemon_is_killed(
    tmp_path: Path, sink: str
) -> None:
    async with daemon(tmp_path, sink) as (server, client), anyio.create_task_group() as group:
        load = Load(client)
        for size in (1, 1, 1, 1, 3, 100):
            group.start_soon(load.run, size)
        for _ in range(3):
            reached = len(load.acknowledged)
            await until(lambda: len(load.acknowledged) > reached + 500)  # noqa: B023
            await anyio.to_thread.run_sync(server.kill)
            acknowledged = set(load.acknowledged)
            assert acknowledged <= set(server.ids())
            await anyio.to_thread.run_sync(server.start)
        group.cancel_scope.cancel()


@pytest.mark.parametrize("ack", ["stored", "accepted"])
async def test_an_orderly_stop_under_load_loses_nothing(tmp_path: Path, ack: str) -> None:
    async with (
        daemon(tmp_path, FILE, f'ack = "{ack}"') as (server, client),
        anyio.create_task_group() as group,
    ):
        load = Load(client)
        for size in (1, 1, 1, 1, 3, 100):
            group.start_soon(load.run, size)
        await until(lambda: len(load.acknowledged) > 500)
        await anyio.to_thread.run_sync(server.stop)
        group.cancel_scope.cancel()
    stored = server.ids()
    assert load.acknowledged <= set(stored)
    assert len(set(stored)) == len(stored)


async def test_rejected_events_are_answered_and_done(tmp_path: Path) -> None:
    bad = {"id": "bad", "timestamp": "yesterday", "payload": {"source": "", "tags": ["a b"]}}
    async with daemon(tmp_path) as (server, client):
        status, body = await client.post(msgspec.json.encode([event("a"), bad, event("c")]))
        assert status == 422
        assert [one["status"] for one in body["events"]] == ["stored", "rejected", "stored"]
        assert {error["path"] for error in body["events"][1]["errors"]} == {
            "$.timestamp",
            "$.payload.event_type",
            "$.payload.source",
            "$.payload.tags[0]",
        }
        assert server.ids() == ["a", "c"]
        assert server.dead_letters() == []


@pytest.mark.parametrize("body", [b'{"id":"bad"}', b'{"id":"bad",', b"\xff"])
async def test_rejected_events_become_dead_letters_by_option(tmp_path: Path, body: bytes) -> None:
    async with daemon(tmp_path, FILE, "dead_letter_rejects = true") as (server, client):
        status, answer = await client.post(body)
        (letter,) = server.dead_letters()
        assert answer["dlq_id"] == letter["dlq_id"]
        assert answer["errors"]
        assert status == 422, "the client has it to mend, and we have it to look at"


async def test_a_dead_letter_is_202_with_its_id(tmp_path: Path) -> None:
    async with daemon(tmp_path, "gate") as (server, client):
        lines = encoded("a") + b"\n" + encoded("refuse")
        status, body = await client.post(lines, NDJSON)
        assert status == 202
        stored, dead = body["events"]
        (letter,) = server.dead_letters()
        assert (stored["status"], dead["status"]) == ("stored", "dead_lettered")
        assert dead["dlq_id"] == letter["dlq_id"]
        assert dead["errors"] == [{"path": "$", "message": "no room for it"}]
        assert server.ids() == ["a"]


async def test_429_when_the_sink_is_blocked_and_no_2xx_before_it_is_free(tmp_path: Path) -> None:
    source = "max_queue_events = 5"
    async with daemon(tmp_path, "gate", source) as (server, client):
        shut = server.folder / "shut"
        shut.touch()
        async with anyio.create_task_group() as group:
            load = Load(client)
            for size in (500, 500, 500, 1, 1, 1):
                group.start_soon(load.run, size)
            await until(lambda: load.statuses[429] > 0)
            assert set(load.statuses) <= {429}
            assert not load.acknowledged
            shut.unlink()
            await until(lambda: len(load.acknowledged) > 1000)
            acknowledged = set(load.acknowledged)
            assert acknowledged <= set(server.ids())
            group.cancel_scope.cancel()


async def test_many_clients_at_once(tmp_path: Path) -> None:
    async with daemon(tmp_path, SQLITE) as (server, client), anyio.create_task_group() as group:
        load = Load(client)
        for _ in range(200):
            group.start_soon(load.run, 1)
        await until(lambda: len(load.acknowledged) > 3000)
        group.cancel_scope.cancel()
        assert set(load.statuses) == {200}
        assert load.acknowledged <= set(server.ids())


async def test_the_answer_comes_without_waiting_for_a_timer(tmp_path: Path) -> None:
    async with daemon(tmp_path, SQLITE) as (server, client):
        for n in range(50):
            assert (await client.post(encoded(f"e{n}"), JSON))[0] == 200
        # An epoch for every request, not one per second: 50 s would be beyond all patience.
        assert server.metric("streamd_epochs_total") == 50
