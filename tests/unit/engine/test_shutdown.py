"""Stopping takes a bounded time, whatever hangs; what was not committed is read again."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import anyio
import pytest
from structlog.testing import capture_logs

from streamd.api import Batch, Duration, FunctionStep
from streamd.engine.pipeline import Pipeline
from streamd.settings.model import PipelineOptions
from streamd.testing.batches import batch_of
from streamd.testing.harness import pipeline, reload, stage
from streamd.testing.memory import MemorySink, MemorySource
from tests.unit.engine.doubles import (
    OutOfOrder,
    Plain,
    down,
    feed,
    life_of,
    numbers,
    running,
    sink,
    source,
    topic_of,
)

QUICKLY = PipelineOptions(drain_timeout=Duration("10s"))


async def time_to_stop(life: Pipeline, after: float = 5.0) -> float:
    """Seconds from `stop` until the life is over."""
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(after)
        stopped_at = anyio.current_time()
        life.stop()
    return anyio.current_time() - stopped_at


async def test_a_step_that_pauses_for_ever_holds_nobody_up(tmp_path: Path) -> None:
    topic = topic_of(10)
    steps = stage("transform", "t", OutOfOrder)
    life = life_of(
        pipeline(source(topic, endless=True), steps, sink([]), options=QUICKLY), tmp_path
    )
    assert await time_to_stop(life) <= 11
    assert topic.committed == {}


async def test_a_step_that_pauses_at_the_end_of_the_sources(tmp_path: Path) -> None:
    class AtTheEnd(Plain):
        def process(self, _batch: Batch) -> list[Batch]:
            return []

        def tick(self, active: float) -> list[Batch]:
            ends = active == math.inf
            return [batch_of([{"n": 1}], partition="w:events:0")] if ends else []

    spec = pipeline(
        source(topic_of(10)),
        stage("window", "w", AtTheEnd),
        stage("transform", "t", OutOfOrder, inputs=("w",)),
        sink([], inputs=("w",)),
        options=QUICKLY,
    )
    assert await time_to_stop(life_of(spec, tmp_path)) <= 11


async def test_a_poll_that_hangs(tmp_path: Path) -> None:
    class Hangs(MemorySource):
        async def poll(self, max_events: int, timeout: float) -> list[Batch]:
            await anyio.sleep_forever()
            return []

    spec = pipeline(
        stage("source", "in", lambda context: Hangs(topic_of(1), context)),
        sink([]),
        options=QUICKLY,
    )
    assert await time_to_stop(life_of(spec, tmp_path)) <= 11


async def test_a_stage_that_never_opens(tmp_path: Path) -> None:
    left: list[str] = []

    class Opens(MemorySink):
        async def __aexit__(self, *_exc: object) -> None:
            left.append("first")

    class Hangs(MemorySink):
        async def __aenter__(self) -> Self:
            await anyio.sleep_forever()
            return self

    spec = pipeline(
        source(topic_of(1)),
        stage("sink", "first", lambda _context: Opens([])),
        stage("sink", "second", lambda _context: Hangs([])),
    )
    assert await time_to_stop(life_of(spec, tmp_path)) < 1
    assert left == ["first"], "what was open is closed"


async def test_a_sink_that_is_down(tmp_path: Path) -> None:
    topic = topic_of(10)
    spec = pipeline(source(topic, endless=True), sink([], fail=down), options=QUICKLY)
    assert 10 <= await time_to_stop(life_of(spec, tmp_path)) <= 11
    assert topic.committed == {}


async def test_the_end_of_the_sources_waits_for_a_sink_until_somebody_stops_it(
    tmp_path: Path,
) -> None:
    life = life_of(pipeline(source(topic_of(10)), sink([], fail=down), options=QUICKLY), tmp_path)
    assert 10 <= await time_to_stop(life, after=3600) <= 11
    assert anyio.current_time() >= 3600


class Leaves(MemorySource):
    """Tells the engine of its partitions when it is closed, as a consumer that leaves its group."""

    async def __aexit__(self, *_exc: object) -> None:
        with anyio.move_on_after(60, shield=True):
            await self._control.revoking(list(self._positions))


def leaving(fail: Any) -> Any:
    topic = topic_of(10)
    make = stage("source", "in", lambda context: Leaves(topic, context, endless=True))
    return pipeline(make, sink([], fail=fail), options=QUICKLY)


async def test_leaving_the_group_waits_for_no_writer_that_is_gone(tmp_path: Path) -> None:
    assert await time_to_stop(life_of(leaving(down), tmp_path)) <= 11


async def test_the_second_signal_ends_at_once(tmp_path: Path) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(life_of(leaving(down), tmp_path).run)
        await anyio.sleep(5)
        group.cancel_scope.cancel()
    assert anyio.current_time() < 6


async def test_a_failed_life_leaves_the_group_at_once(tmp_path: Path) -> None:
    def bug(_event: Any) -> None:
        raise AssertionError

    class Breaks(Plain):
        """Keeps state, so that an error of it ends the life."""

        def process(self, batch: Batch) -> list[Batch]:
            raise RuntimeError("a bug")

        def assign(self, _partitions: Any, _rows: Iterable[Any]) -> None: ...
        def revoke(self, _partitions: Any) -> None: ...
        def take_changes(self) -> list[Any]:
            return []

    topic = topic_of(10)
    make = stage("source", "in", lambda context: Leaves(topic, context, endless=True))
    spec = pipeline(make, stage("transform", "t", Breaks), sink([]))
    with pytest.raises(ExceptionGroup):
        await life_of(spec, tmp_path).run()
    assert anyio.current_time() < 1


class NeverLeft(MemorySink):
    """Hangs when it is closed."""

    async def __aexit__(self, *_exc: object) -> None:
        await anyio.sleep_forever()


async def test_a_stage_that_never_closes_is_cancelled(tmp_path: Path) -> None:
    left: list[str] = []

    class Opens(MemorySink):
        async def __aexit__(self, *_exc: object) -> None:
            left.append("first")

    spec = pipeline(
        source(topic_of(10)),
        stage("sink", "first", lambda _context: Opens([])),
        stage("sink", "second", lambda _context: NeverLeft([])),
    )
    with capture_logs() as logs:
        await life_of(spec, tmp_path).run()
    assert 60 <= anyio.current_time() < 62
    assert left == ["first"], "the others close as well"
    told = [(line["event"], line["stage"]) for line in logs if line["log_level"] == "warning"]
    assert told == [("A stage does not close; it was cancelled", "NeverLeft")]


@pytest.mark.parametrize("shielded", [False, True])
async def test_a_stage_that_never_closes_does_not_hold_up_a_reload(
    shielded: bool, tmp_path: Path
) -> None:
    freed = anyio.Event()

    class NeverEnds(MemorySink):
        async def __aexit__(self, *_exc: object) -> None:
            with anyio.CancelScope(shield=shielded):
                await freed.wait()

    topic = topic_of(10)
    rows: list[Any] = []
    old = stage("sink", "out", lambda _context: NeverEnds([]))
    async with running(pipeline(source(topic, endless=True), old), tmp_path) as life:
        await anyio.sleep(1)
        await reload(life, pipeline(source(topic, endless=True), sink(rows)))
        assert anyio.current_time() < 70
        feed(topic, 5)
        await anyio.sleep(5)
        freed.set()
    assert numbers(rows) == [10, 11, 12, 13, 14]


async def test_stopping_while_everything_is_well_loses_nothing(tmp_path: Path) -> None:
    topic = topic_of(5000)
    rows: list[Any] = []
    same = FunctionStep(lambda event: event)
    spec = pipeline(
        source(topic, endless=True), stage("transform", "t", lambda _context: same), sink(rows)
    )
    await time_to_stop(life_of(spec, tmp_path), after=0.001)
    read = topic.committed["events:0"].position
    assert numbers(rows) == list(range(read))
