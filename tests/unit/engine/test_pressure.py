"""Back-pressure holds the sources, keeps them alive, and always ends."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from streamd.api import DEAD_LETTERS, Batch, BatchLimits, DeadLetter, Rejected, Retryable, Size
from streamd.settings.model import PipelineOptions
from streamd.testing.harness import pipeline, stage
from streamd.testing.memory import MemorySource
from tests.unit.engine.doubles import (
    Made,
    RejectsAll,
    SlowSink,
    Verdicts,
    life_of,
    numbers,
    running,
    sink,
    source,
    topic_of,
)

AN_HOUR = BatchLimits(rows=100_000, time=3600)


class Trickle(MemorySource):
    """A hundred events a second: epochs close by their time, long before the budget is full."""

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        await anyio.sleep(0.1)
        return await super().poll(10, timeout)


@pytest.mark.parametrize(
    "options",
    [PipelineOptions(max_events=1000), PipelineOptions(max_bytes=Size("20KiB"))],
    ids=["events", "bytes"],
)
async def test_a_full_budget_hurries_a_sink_that_gathers(
    options: PipelineOptions, tmp_path: Path
) -> None:
    topic = topic_of(3000)
    rows: list[Any] = []
    slow = stage("source", "in", lambda context: Trickle(topic, context, endless=True))
    async with running(pipeline(slow, sink(rows, batch=AN_HOUR), options=options), tmp_path):
        await anyio.sleep(120)
        assert len(rows) > 2000


async def test_a_sink_that_gathers_is_not_hurried_without_need(tmp_path: Path) -> None:
    rows: list[Any] = []
    async with running(
        pipeline(source(topic_of(10), endless=True), sink(rows, batch=AN_HOUR)), tmp_path
    ):
        await anyio.sleep(3599)
        assert rows == []
        await anyio.sleep(2)
        assert numbers(rows) == list(range(10))


async def test_a_source_is_kept_alive_about_once_a_second(tmp_path: Path) -> None:
    made = Made(lambda context: MemorySource(topic_of(5000), context))
    slow = stage("sink", "out", lambda _context: SlowSink([], 0.01), batch=BatchLimits(rows=1))
    options = PipelineOptions(max_events=1000, epoch_events=1000, batch_events=5)
    await life_of(pipeline(stage("source", "in", made), slow, options=options), tmp_path).run()
    assert 30 < made.last.keepalives < 70, "of 50 seconds, nearly all under back-pressure"


async def test_a_dead_letter_sink_that_is_down_holds_the_source_and_then_takes_everything(
    tmp_path: Path,
) -> None:
    def fail(_batch: Batch) -> None:
        if anyio.current_time() < 1000:
            raise Retryable("down")

    made = Made(lambda context: MemorySource(topic_of(50_000), context))
    dead: list[Any] = []
    spec = pipeline(
        stage("source", "in", made),
        stage("transform", "t", RejectsAll),
        sink([]),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,), fail=fail),
        policies=[Verdicts({Rejected: DeadLetter()})],
    )
    async with anyio.create_task_group() as group:
        group.start_soon(life_of(spec, tmp_path).run)
        await anyio.sleep(900)
        assert made.last.polls < 25, "its slot is full after some ten thousand"
    assert sorted(doc["metadata"]["offset"] for doc in dead) == list(range(50_000))


async def test_more_than_four_open_epochs_do_not_stop_the_pipeline(tmp_path: Path) -> None:
    rows: list[Any] = []
    topic = topic_of(2000)
    slow = stage("sink", "out", lambda _context: SlowSink(rows, 5), batch=BatchLimits(rows=50))
    options = PipelineOptions(batch_events=10, epoch_events=10)
    await life_of(pipeline(source(topic), slow, options=options), tmp_path).run()
    assert numbers(rows) == list(range(2000))
    assert topic.committed["events:0"].position == 2000


@pytest.mark.parametrize("batch_events", [5, 1000])
async def test_bytes_bound_a_write_however_the_rows_came(batch_events: int, tmp_path: Path) -> None:
    topic = topic_of(0)
    for _ in range(100):
        topic.add(b'{"n": 1, "x": "' + b"x" * 1000 + b'"}')
    sizes: list[int] = []
    limits = BatchLimits(rows=1000, bytes=10_000)
    out = sink([], fail=lambda batch: sizes.append(batch.size), batch=limits)
    options = PipelineOptions(batch_events=batch_events)
    await life_of(pipeline(source(topic), out, options=options), tmp_path).run()
    assert max(sizes) <= 10_000
    assert sum(sizes) == sum(map(len, topic.records["events:0"]))


async def test_a_row_that_is_larger_than_a_write_goes_alone(tmp_path: Path) -> None:
    topic = topic_of(3)
    topic.add(b'{"n": 3, "x": "' + b"x" * 1000 + b'"}')
    written: list[list[int]] = []
    out = sink(
        [], fail=lambda batch: written.append(numbers(batch.values)), batch=BatchLimits(bytes=100)
    )
    await life_of(pipeline(source(topic), out), tmp_path).run()
    assert written[-1] == [3]
    assert sorted(n for rows in written for n in rows) == [0, 1, 2, 3]
