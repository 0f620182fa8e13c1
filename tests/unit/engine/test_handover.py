"""From one owner of a partition to the next: who owns it, and from where it is read on."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import anyio

from streamd.api import Batch, Committed
from streamd.engine.store import Positions
from streamd.settings.model import PipelineSpec
from streamd.testing.harness import pipeline, stage
from streamd.testing.memory import MemorySource, MemoryStore, MemoryTopic
from tests.unit.engine.doubles import (
    Made,
    SlowSink,
    life_of,
    numbers,
    running,
    sink,
    source,
    topic_of,
)
from tests.unit.engine.group import SumWindow


class SlowToRead(MemoryStore):
    """Takes a second to say where a partition was left."""

    async def positions(self, pipeline: str, partitions: Collection[str]) -> Positions:
        await anyio.sleep(1)
        return await super().positions(pipeline, partitions)


async def test_a_partition_that_is_lost_while_it_is_taken_over_is_not_ours(tmp_path: Path) -> None:
    topic, store = topic_of(10), SlowToRead()
    made = Made(lambda context: MemorySource(topic, context, endless=True))
    rows: list[Any] = []
    life = life_of(pipeline(stage("source", "in", made), sink(rows)), tmp_path, store)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(0.5)
        assert made.last.polls == 1, "it is being taken over"
        await made.last._control.lost(["events:0"])
        await anyio.sleep(5)
        assert life.parts is not None
        assert life.parts.intake.owners == {}
        group.cancel_scope.cancel()
    assert rows == [], "events of a partition that is another's are not taken in"
    assert topic.committed == {}
    assert store.positions_of == {}


async def test_a_partition_is_let_go_even_if_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    topic = topic_of(10)
    made = Made(lambda context: MemorySource(topic, context, endless=True))
    rows: list[Any] = []
    slow = stage("sink", "out", lambda _context: SlowSink(rows, 10))
    async with running(pipeline(stage("source", "in", made), slow), tmp_path):
        await anyio.sleep(2)
        with anyio.move_on_after(1) as patience:
            await made.last._control.revoking(["events:0"])
        assert patience.cancelled_caught
        await anyio.sleep(30)
    assert numbers(rows) == list(range(10))
    assert topic.committed == {}, "what is delivered afterwards is for the next owner to commit"


def summing(source_id: str, topic: MemoryTopic, sums: list[Any]) -> PipelineSpec:
    return pipeline(
        source(topic, source_id),
        stage("window", "w", SumWindow),
        sink(sums, "sums", inputs=("w",)),
        sink([]),
    )


async def test_a_source_that_is_called_otherwise_goes_on_where_the_state_is(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    sums: list[Any] = []
    await life_of(summing("before", topic_of(15), sums), tmp_path, store).run()
    await life_of(summing("after", topic_of(20), sums), tmp_path, store).run()
    assert [row["total"] for row in sums] == [sum(range(10)), sum(range(10, 20))]


async def test_the_broker_hears_of_what_a_crash_kept_from_it(tmp_path: Path) -> None:
    topic, store = topic_of(10), MemoryStore()
    store.epochs["test"] = 5
    store.positions_of["test"] = {"in": {"events:0": 10}}
    topic.committed["events:0"] = Committed(7, "memory:4")
    read: list[Batch] = []
    spec = pipeline(source(topic, endless=True), sink([], fail=read.append))
    life = life_of(spec, tmp_path, store)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(10)
        group.cancel_scope.cancel()
    assert topic.committed["events:0"].position == 10, "although no new event has come"
    assert read == []
