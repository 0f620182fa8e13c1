"""What a reload has removed leaves no series behind: a stale gauge would raise alerts."""

from pathlib import Path
from typing import Any

import anyio

from streamd.api import Batch, Retryable
from streamd.engine.supervisor import Supervisor
from streamd.telemetry.metrics import Telemetry
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemorySource, MemoryStore, MemoryTopic
from tests.unit.engine.doubles import sink, source, topic_of


class Lagging(MemorySource):
    def __init__(self, topic: MemoryTopic, context: Any) -> None:
        super().__init__(topic, context, endless=True)
        context.metrics.gauge("lag_seconds", "Lag.").set(1000)


def lagging(name: str) -> Any:
    return stage("source", name, lambda context: Lagging(topic_of(3, name=name), context))


def series(telemetry: Telemetry, word: str) -> list[str]:
    lines = telemetry.exposition()[0].decode().splitlines()
    return [line for line in lines if word in line and not line.startswith("#")]


async def test_a_sink_that_has_gone_leaves_no_series_behind(tmp_path: Path) -> None:
    away = True

    def fail(_batch: Batch) -> None:
        if away:
            raise Retryable("down")

    src, out, telemetry = source(topic_of(3), endless=True), sink([]), Telemetry()
    around = surroundings(MemoryStore(), state_dir=tmp_path, telemetry=telemetry)
    supervisor = Supervisor(pipeline(src, out, sink([], "gone", fail=fail)), around)
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await anyio.sleep(15)
        new = pipeline(src, out)
        await supervisor.carry_out(await supervisor.prepare(new), new, "")
        supervisor.status()
        assert [line for line in series(telemetry, "gone (removed)") if line.endswith(" 0.0")]
        away = False
        await anyio.sleep(60)
        supervisor.status()
        assert series(telemetry, "gone") == []
        supervisor.stop()


async def test_a_source_that_was_removed_leaves_no_lag_behind(tmp_path: Path) -> None:
    out, stays, telemetry = sink([]), source(topic_of(3), endless=True), Telemetry()
    around = surroundings(MemoryStore(), state_dir=tmp_path, telemetry=telemetry)
    supervisor = Supervisor(pipeline(stays, lagging("more"), out), around)
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await anyio.sleep(5)
        assert series(telemetry, "lag_seconds")
        new = pipeline(stays, out)
        await supervisor.carry_out(await supervisor.prepare(new), new, "")
        supervisor.status()
        assert series(telemetry, "lag_seconds") == []
        supervisor.stop()


async def test_a_pipeline_that_was_removed_leaves_nothing_behind(tmp_path: Path) -> None:
    telemetry = Telemetry()
    around = surroundings(MemoryStore(), state_dir=tmp_path, telemetry=telemetry)
    supervisor = Supervisor(pipeline(lagging("in"), sink([]), name="gone"), around)
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await anyio.sleep(5)
        supervisor.status()
        assert series(telemetry, 'pipeline="gone"')
        supervisor.remove()
    assert series(telemetry, 'pipeline="gone"') == []
