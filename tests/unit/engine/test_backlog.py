"""`dlq_backlog_size` is there only where it is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from streamd.api import DEAD_LETTERS, Retryable, StageContext
from streamd.engine.pipeline import Pipeline
from streamd.settings.model import PipelineOptions, PipelineSpec, StageSpec
from streamd.telemetry.metrics import Telemetry
from streamd.testing.harness import pipeline, reload, stage, surroundings
from streamd.testing.memory import MemorySink, MemoryStore
from tests.unit.engine.doubles import sink, source, topic_of


class Counted(MemorySink):
    """Has so many dead letters, or none that it can tell."""

    def __init__(self, held: list[int | Exception]) -> None:
        super().__init__([])
        self._held = held

    async def backlog(self) -> int:
        await anyio.sleep(0.1)
        found = self._held.pop(0) if len(self._held) > 1 else self._held[0]
        if isinstance(found, Exception):
            raise found
        return found


def counted(name: str, *held: int | Exception, inputs: tuple[str, ...] = (DEAD_LETTERS,)) -> Any:
    def make(_context: StageContext) -> Counted:
        return Counted(list(held))

    return stage("sink", name, make, inputs=inputs)


def uncounted(name: str) -> StageSpec:
    return sink([], name, inputs=(DEAD_LETTERS,))


def of(*sinks: StageSpec, backlog: str | None = None) -> PipelineSpec:
    options = PipelineOptions(backlog=backlog)
    return pipeline(source(topic_of(1), endless=True), sink([]), *sinks, options=options)


def shown(telemetry: Telemetry) -> list[str]:
    lines = telemetry.exposition()[0].decode().splitlines()
    return [line.rpartition(" ")[2] for line in lines if line.startswith("dlq_backlog_size{")]


@pytest.mark.parametrize(
    ("spec", "figure"),
    [
        (of(), ["0.0"]),
        (of(uncounted("topic")), []),
        (of(counted("files", 7)), ["7.0"]),
        (of(uncounted("topic"), counted("files", 7)), ["7.0"]),
        (of(counted("files", 7), counted("objects", 3), backlog="objects"), ["3.0"]),
        (of(counted("files", Retryable("away"))), []),
    ],
    ids=["no store", "a topic", "files", "a topic and files", "the one that is named", "away"],
)
async def test_there_is_a_figure_only_where_one_is_known(
    spec: PipelineSpec, figure: list[str], tmp_path: Path
) -> None:
    telemetry = Telemetry()
    life = Pipeline(spec, surroundings(MemoryStore(), state_dir=tmp_path, telemetry=telemetry))
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(5)
        assert shown(telemetry) == figure
        life.stop()


async def test_it_follows_the_store_and_outlives_a_failure(tmp_path: Path) -> None:
    telemetry, spec = Telemetry(), of(counted("files", 7, Retryable("away"), 2))
    life = Pipeline(spec, surroundings(MemoryStore(), state_dir=tmp_path, telemetry=telemetry))
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(5)
        assert shown(telemetry) == ["7.0"]
        await anyio.sleep(31)
        assert shown(telemetry) == ["7.0"]
        await anyio.sleep(31)
        assert shown(telemetry) == ["2.0"]
        life.stop()


async def test_it_goes_with_the_store_that_could_be_counted(tmp_path: Path) -> None:
    telemetry, spec = Telemetry(), of(counted("files", 7))
    life = Pipeline(spec, surroundings(MemoryStore(), state_dir=tmp_path, telemetry=telemetry))
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(5)
        await reload(life, pipeline(*spec.sources, spec.sinks[0], uncounted("topic")))
        await anyio.sleep(31)
        assert shown(telemetry) == []
        await reload(life, spec)
        await anyio.sleep(31)
        assert shown(telemetry) == ["7.0"]
        life.stop()
