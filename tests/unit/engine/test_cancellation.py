"""A cancellation that nobody asked for is a failure; it never ends a pipeline without a word."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.lowlevel
import pytest

from streamd.api import DEAD_LETTERS, Batch
from streamd.engine.supervisor import Supervisor
from streamd.settings.model import PipelineSpec
from streamd.testing.batches import batch_of
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemorySink, MemorySource, MemoryStore
from tests.unit.engine.doubles import Plain, life_of, numbers, sink, source, topic_of


async def awaits_a_cancelled_future() -> None:
    raise asyncio.CancelledError


async def cancels_its_task() -> None:
    """As a time-out does that outlives what it was for."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await anyio.lowlevel.checkpoint()


class Trap:
    """Springs once, at one place."""

    def __init__(self, place: str, how: Callable[[], Any]) -> None:
        self.place = place
        self.how = how
        self.sprung = False

    async def at(self, place: str) -> None:
        if place == self.place and not self.sprung:
            self.sprung = True
            await self.how()


def trapped(trap: Trap, rows: list[Any]) -> PipelineSpec:
    topic = topic_of(10)

    class Source(MemorySource):
        async def __aenter__(self) -> Self:
            await trap.at("opening a source")
            return self

        async def poll(self, max_events: int, timeout: float) -> list[Batch]:
            await trap.at("poll")
            return await super().poll(max_events, timeout)

        async def commit(self, positions: Any, tag: str) -> None:
            await trap.at("commit")
            await super().commit(positions, tag)

    class Sink(MemorySink):
        async def __aenter__(self) -> Self:
            await trap.at("opening a sink")
            return self

        async def write(self, batch: Batch) -> None:
            await trap.at("write")
            await super().write(batch)

    class Step(Plain):
        async def process(self, batch: Batch) -> list[Batch]:
            await trap.at("process")
            return [batch]

    return pipeline(
        stage("source", "in", lambda context: Source(topic, context, endless=True)),
        stage("transform", "t", Step),
        stage("sink", "out", lambda _context: Sink(rows)),
    )


PLACES = ["opening a source", "opening a sink", "poll", "process", "write", "commit"]


@pytest.mark.parametrize("how", [awaits_a_cancelled_future, cancels_its_task])
@pytest.mark.parametrize("place", PLACES)
async def test_a_library_that_cancels_us_is_a_failure_and_the_pipeline_starts_again(
    place: str, how: Callable[[], Any], tmp_path: Path
) -> None:
    states: list[str] = []
    rows: list[Any] = []
    around = surroundings(MemoryStore(), state_dir=tmp_path)
    trap = Trap(place, how)
    hurt = Supervisor(trapped(trap, rows), around, lambda state, _reason: states.append(state))
    other = pipeline(source(topic_of(10), endless=True), sink([]), name="other")
    unhurt = Supervisor(other, around)
    async with anyio.create_task_group() as group:
        group.start_soon(hurt.run)
        group.start_soon(unhurt.run)
        await anyio.sleep(60)
        assert hurt.status().state == "running"
        assert unhurt.status().state == "running"
        assert unhurt.status().restarts == 0
        group.cancel_scope.cancel()
    assert trap.sprung
    assert [state for state in states if state != "running"] == ["failed"]
    assert set(numbers(rows)) == set(range(10))


async def test_an_observer_that_fails_hurts_nobody(tmp_path: Path) -> None:
    def observe(_state: str, _reason: str) -> None:
        raise ValueError("a bug of the observer")

    rows: list[Any] = []
    around = surroundings(MemoryStore(), state_dir=tmp_path)
    await Supervisor(pipeline(source(topic_of(10)), sink(rows)), around, observe).run()
    assert numbers(rows) == list(range(10))


async def test_a_gauge_that_fails_hurts_nobody(tmp_path: Path) -> None:
    class Counts(MemorySink):
        async def backlog(self) -> int:
            raise KeyError("a bug of the sink")

    rows: list[Any] = []
    dlq = stage("sink", "dlq", lambda _context: Counts([]), inputs=(DEAD_LETTERS,))
    await life_of(pipeline(source(topic_of(10)), sink(rows), dlq), tmp_path).run()
    assert numbers(rows) == list(range(10))


def trapped_at_the_end(trap: Trap, rows: list[Any]) -> PipelineSpec:
    """A window that emits when its source ends, and stages that are left then."""
    topic = topic_of(3)

    class Source(MemorySource):
        async def __aexit__(self, *_exc: object) -> None:
            await trap.at("leaving a source")

    class AtTheEnd(Plain):
        def process(self, _batch: Batch) -> list[Batch]:
            return []

        emitted = False

        def tick(self, active: float) -> list[Batch]:
            if active < math.inf or self.emitted or rows:
                return []
            self.emitted = True
            return [batch_of([{"n": 1}], partition="w:events:0")]

    class Step(Plain):
        async def process(self, batch: Batch) -> list[Batch]:
            await trap.at("the last slice")
            return [batch]

    return pipeline(
        stage("source", "in", lambda context: Source(topic, context)),
        stage("window", "w", AtTheEnd),
        stage("transform", "t", Step, inputs=("w",)),
        sink(rows, inputs=("w",)),
        sink([], "events"),
    )


@pytest.mark.parametrize("how", [awaits_a_cancelled_future, cancels_its_task])
@pytest.mark.parametrize("place", ["the last slice", "leaving a source"])
async def test_a_library_that_cancels_us_at_the_end_is_a_failure_too(
    place: str, how: Callable[[], Any], tmp_path: Path
) -> None:
    states: list[str] = []
    rows: list[Any] = []
    around = surroundings(MemoryStore(), state_dir=tmp_path)
    trap = Trap(place, how)
    spec = trapped_at_the_end(trap, rows)
    await Supervisor(spec, around, lambda state, _reason: states.append(state)).run()
    assert trap.sprung
    assert states == ["running", "failed", "running", "stopped"]
    assert numbers(rows) == [1]


@pytest.mark.parametrize("how", [awaits_a_cancelled_future, cancels_its_task])
async def test_a_gauge_that_cancels_us_does_not_end_the_pipeline(
    how: Callable[[], Any], tmp_path: Path
) -> None:
    class Counts(MemorySink):
        async def backlog(self) -> int:
            counted.append(await how())
            return 0

    counted: list[Any] = []
    dlq = stage("sink", "dlq", lambda _context: Counts([]), inputs=(DEAD_LETTERS,))
    around = surroundings(MemoryStore(), state_dir=tmp_path)
    alive = Supervisor(pipeline(source(topic_of(10), endless=True), sink([]), dlq), around)
    async with anyio.create_task_group() as group:
        group.start_soon(alive.run)
        await anyio.sleep(100)
        assert alive.status().state == "running"
        assert alive.status().restarts == 0
        group.cancel_scope.cancel()
