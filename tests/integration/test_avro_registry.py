"""The avro codec and its registry: one that is away holds events back and loses none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from streamd import exits
from streamd.cli import main as cli
from streamd.engine.pipeline import Pipeline
from streamd.engine.status import status_of
from streamd.settings.loader import load
from streamd.telemetry.metrics import Telemetry
from streamd.testing.harness import surroundings
from streamd.testing.memory import MemoryStore
from tests.plugins.streamd_avro.helpers import EVENT, record
from tests.plugins.streamd_avro.registry_server import RegistryServer, serving
from tests.services.server import free_ports

# The default policies: what is tried again in vain becomes a dead letter.
CONFIG = """
[pipeline.main.source]
plugin = "file"
path = "input.bin"

[pipeline.main.source.codec]
plugin = "avro"
format = "confluent"
registry = "{url}"
timeout = "300ms"

[[pipeline.main.sink]]
id = "out"
plugin = "file"
path = "out.jsonl"

[[pipeline.main.sink]]
id = "dead"
plugin = "file"
path = "dead.jsonl"
files = "lines"
inputs = ["dead_letters"]
"""
WRITING = """
[pipeline.main.source]
plugin = "file"
path = "input.jsonl"

[[pipeline.main.sink]]
id = "out"
plugin = "file"
path = "out/{{digest}}"
files = "event"

[pipeline.main.sink.codec]
plugin = "avro"
format = "confluent"
registry = "{url}"
subject = "events-value"
register_schema = true
"""
NUMBERS = [n for n in range(60) if n not in (5, -6)]  # as a file's lines: no byte ends one


class Life:
    """A pipeline in its run; `metrics` in Prometheus' text format."""

    def __init__(self, folder: Path) -> None:
        (spec,) = load(folder / "streamd.toml").pipelines
        self._telemetry = Telemetry()
        around = surroundings(MemoryStore(), state_dir=folder / "state", telemetry=self._telemetry)
        self.pipeline = Pipeline(spec, around)

    def problem_of(self, stage: str) -> str | None:
        if self.pipeline.parts is None:
            return None
        stages = status_of(self.pipeline, 0).stages
        return stages[stage].problem if stage in stages else None

    @property
    def metrics(self) -> str:
        return self._telemetry.exposition()[0].decode()


@asynccontextmanager
async def living(folder: Path) -> AsyncIterator[Life]:
    """Until the pipeline ends by itself."""
    life = Life(folder)
    async with anyio.create_task_group() as group:
        group.start_soon(life.pipeline.run)
        yield life


async def until(condition: Callable[[], Any]) -> None:
    with anyio.fail_after(60):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.01)


def lines(path: Path) -> list[Any]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def records_of(number: int) -> bytes:
    header = b"\0" + number.to_bytes(4, "big")
    return b"\n".join(header + bytes((n << 1,)) for n in NUMBERS) + b"\n"


async def test_a_registry_that_is_down_slow_and_broken_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("streamd.engine.preparation.backoff", lambda *_: 0.05)
    (port,) = free_ports(1)
    server = RegistryServer()
    number = server.add("events-value", record("N", ("n", "int")))
    (tmp_path / "input.bin").write_bytes(records_of(number))
    (tmp_path / "streamd.toml").write_text(CONFIG.format(url=f"http://127.0.0.1:{port}"))
    async with living(tmp_path) as life:
        await until(lambda: "connect" in str(life.problem_of("file")).lower())
        server.slow = {f"/schemas/ids/{number}"}
        with serving(server, port):
            await until(lambda: "no answer" in str(life.problem_of("file")))
            server.status, server.slow = 503, set()
            await until(lambda: "503" in str(life.problem_of("file")))
            assert 'streamd_retries_total{pipeline="main",stage="file"}' in life.metrics
            assert not (tmp_path / "out.jsonl").exists()
            server.status = None
            await until(lambda: life.pipeline.state == "stopped")
    assert lines(tmp_path / "out.jsonl") == [{"n": n} for n in NUMBERS]
    assert not (tmp_path / "dead.jsonl").exists(), "the events were good all the time"
    assert server.requests.count(f"GET /schemas/ids/{number}") == len(server.requests)


async def test_a_schema_that_nobody_knows_is_the_events_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(RegistryServer()) as server:
        number = server.add("events-value", record("N", ("n", "int")))
        (tmp_path / "input.bin").write_bytes(records_of(77) + records_of(number))
        (tmp_path / "streamd.toml").write_text(CONFIG.format(url=server.url))
        async with living(tmp_path):
            pass
    assert lines(tmp_path / "out.jsonl") == [{"n": n} for n in NUMBERS]
    dead = lines(tmp_path / "dead.jsonl")
    assert len(dead) == len(NUMBERS)
    assert {letter["reason"] for letter in dead} == {"unknown_schema"}
    assert all("Schema 77 not found" in letter["error"]["message"] for letter in dead)
    assert len(server.requests) == 2, "not even what is not there is asked for twice"


async def test_a_sink_waits_for_the_registry_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(RegistryServer()) as server:
        server.failures = 1
        (tmp_path / "input.jsonl").write_bytes(msgspec.json.encode(EVENT) + b"\n")
        (tmp_path / "streamd.toml").write_text(WRITING.format(url=server.url))
        async with living(tmp_path) as life:
            await until(lambda: "503" in str(life.problem_of("out")))
        (written,) = (tmp_path / "out").iterdir()
        assert written.read_bytes()[:5] == b"\0\0\0\0\1"
    assert server.requests == ["POST /subjects/events-value/versions"] * 2


def test_check_connect_asks_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input.bin").touch()
    with serving(RegistryServer()) as server:
        (tmp_path / "streamd.toml").write_text(CONFIG.format(url=server.url))
        command = ("check", "--connect", "--config", "streamd.toml")
        assert cli.main(command) == exits.OK
        assert "main.file.codec  ok  the registry answers\n" in capsys.readouterr().out
        server.status = 401
        assert cli.main(command) == exits.FAILED
        assert "main.file.codec  FAILED  Misconfigured: " in capsys.readouterr().err


TEST = """
[[test]]
name = "without a registry"
[[test.input]]
events = [{{ n = 1 }}]
[[test.expect]]
sink = "out"
rows = [{{ n = 1 }}]
"""


def test_tests_in_a_configuration_need_no_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for config in (CONFIG, WRITING):
        (tmp_path / "streamd.toml").write_text((config + TEST).format(url="http://127.0.0.1:1"))
        assert cli.main(("test", "streamd.toml")) == exits.OK
