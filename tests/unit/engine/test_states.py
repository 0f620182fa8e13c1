"""The state that a pipeline is told to be in, by its status and its gauges."""

from pathlib import Path
from typing import Any

import anyio

from streamd.api import Fatal
from streamd.engine.supervisor import Supervisor
from streamd.settings.model import PipelineOptions, PipelineSpec
from streamd.telemetry.metrics import PIPELINE_STATES, Telemetry
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemoryStore
from tests.unit.engine.doubles import Through, sink, source, topic_of


class Watched:
    def __init__(self, spec: PipelineSpec, tmp_path: Path) -> None:
        self.telemetry = Telemetry()
        around = surroundings(MemoryStore(), state_dir=tmp_path, telemetry=self.telemetry)
        self.supervisor = Supervisor(spec, around)

    def told(self) -> tuple[str, bool, float]:
        """State and readiness by the status, and whether it is up; gauge and status agree."""
        status = self.supervisor.status()
        value = self.telemetry.registry.get_sample_value
        told = [
            state
            for state in PIPELINE_STATES
            if value("streamd_pipeline_state", {"pipeline": "test", "state": state})
        ]
        assert told == [status.state]
        up = value("streamd_pipeline_up", {"pipeline": "test"})
        assert up is not None
        return status.state, status.ready, up


async def test_one_whose_sources_have_come_to_their_end_is_well(tmp_path: Path) -> None:
    watched = Watched(pipeline(source(topic_of(10)), sink([])), tmp_path)
    assert watched.told() == ("starting", False, 0)
    await watched.supervisor.run()
    assert watched.told() == ("ended", True, 0)
    assert watched.supervisor.status().problems == []


async def test_one_that_was_told_to_stop_is_not(tmp_path: Path) -> None:
    watched = Watched(pipeline(source(topic_of(10), endless=True), sink([])), tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(watched.supervisor.run)
        await anyio.sleep(5)
        assert watched.told() == ("running", True, 1)
        watched.supervisor.stop()
    assert watched.told() == ("stopped", False, 0)


async def test_one_that_fails_is_not(tmp_path: Path) -> None:
    def breaks(_batch: Any) -> Any:
        raise Fatal("it is broken")

    spec = pipeline(
        source(topic_of(10)),
        stage("transform", "t", lambda _context: Through(breaks)),
        sink([]),
        options=PipelineOptions(on_failure="stop"),
    )
    watched = Watched(spec, tmp_path)
    await watched.supervisor.run()
    assert watched.told() == ("failed", False, 0)
