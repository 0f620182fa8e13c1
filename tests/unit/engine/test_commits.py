"""What is done gets committed, whoever is slow, and what moves away does not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from streamd.api import NOTHING_READ, Batch, BatchLimits, Committed, Fatal, Misconfigured, Retryable
from streamd.settings.model import PipelineOptions
from streamd.testing.harness import pipeline, stage
from streamd.testing.memory import MemorySink, MemorySource, MemoryStore
from tests.unit.engine.doubles import (
    Made,
    OutOfOrder,
    SlowSink,
    Through,
    down,
    life_of,
    numbers,
    running,
    sink,
    source,
    topic_of,
)
from tests.unit.engine.group import SumWindow


class CannotCommit(MemorySource):
    async def commit(self, positions: Mapping[str, int], tag: str) -> None:
        raise Retryable("the group is rebalancing")


async def test_what_is_delivered_is_committed_while_a_step_waits(tmp_path: Path) -> None:
    def stuck(batch: Batch) -> list[Batch]:
        if batch.values[-1]["n"] >= 20:
            raise Misconfigured("the registry is away")
        return [batch]

    topic = topic_of(30)
    rows: list[Any] = []
    spec = pipeline(
        source(topic, endless=True),
        stage("transform", "t", lambda _context: Through(stuck)),
        stage("sink", "out", lambda _context: SlowSink(rows, 2), batch=BatchLimits(rows=10)),
        options=PipelineOptions(batch_events=10, epoch_events=10),
    )
    async with running(spec, tmp_path):
        await anyio.sleep(100)
        assert topic.committed["events:0"].position == 20
    assert numbers(rows) == list(range(20))


@pytest.mark.parametrize("step", [True, False], ids=["a step", "a sink"])
async def test_a_revocation_waits_no_longer_than_its_time(step: bool, tmp_path: Path) -> None:
    topic = topic_of(10)
    made = Made(lambda context: MemorySource(topic, context, endless=True))
    steps = [stage("transform", "t", OutOfOrder)] if step else []
    spec = pipeline(stage("source", "in", made), *steps, sink([], fail=None if step else down))
    async with running(spec, tmp_path):
        await anyio.sleep(5)
        started = anyio.current_time()
        await made.last._control.revoking(["events:0"])
        assert 19 < anyio.current_time() - started < 21
    assert topic.committed == {}


async def test_a_late_delivery_of_a_partition_that_has_gone_is_inert(tmp_path: Path) -> None:
    topic, store = topic_of(10), MemoryStore()
    made = Made(lambda context: MemorySource(topic, context, endless=True))
    rows: list[Any] = []
    slow = stage("sink", "out", lambda _context: SlowSink(rows, 10))
    life = life_of(pipeline(stage("source", "in", made), slow), tmp_path, store)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(2)
        await made.last._control.lost(["events:0"])
        await anyio.sleep(60)
        group.cancel_scope.cancel()
    assert numbers(rows) == list(range(10))
    assert topic.committed == {}
    assert store.positions_of.get("test", {}).get("in", {}) == {}


async def test_a_source_that_cannot_commit_does_not_hold_another_ones_partitions(
    tmp_path: Path,
) -> None:
    other = topic_of(10, name="other")
    made = Made(lambda context: MemorySource(other, context, endless=True))
    bad = stage("source", "bad", lambda context: CannotCommit(topic_of(10), context, endless=True))
    async with running(pipeline(bad, stage("source", "good", made), sink([])), tmp_path):
        await anyio.sleep(5)
        started = anyio.current_time()
        await made.last._control.revoking(["other:0"])
        assert anyio.current_time() - started < 1
    assert other.committed["other:0"].position == 10


async def test_nobody_waits_for_a_commit_that_is_not_ours_to_make_any_more(tmp_path: Path) -> None:
    made = Made(lambda context: CannotCommit(topic_of(10), context, endless=True))
    life = life_of(pipeline(stage("source", "in", made), sink([])), tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(5)
        await made.last._control.lost(["events:0"])
        life.stop()
    assert anyio.current_time() < 7


async def test_two_sources_of_one_pipeline_are_committed_each_to_its_end(tmp_path: Path) -> None:
    first, second = topic_of(500, 2, "first"), topic_of(300, 3, "second")
    rows: list[Any] = []
    store = MemoryStore()
    spec = pipeline(source(first, "a"), source(second, "b"), sink(rows))
    await life_of(spec, tmp_path, store).run()
    assert numbers(rows) == sorted([*range(500), *range(300)])
    for topic, name in ((first, "a"), (second, "b")):
        ends = {partition: len(records) for partition, records in topic.records.items()}
        assert store.positions_of["test"][name] == ends
        assert {p: c.position for p, c in topic.committed.items()} == ends


async def test_two_sources_may_not_read_one_partition(tmp_path: Path) -> None:
    topic = topic_of(10)
    with pytest.raises(ExceptionGroup) as caught:
        await life_of(pipeline(source(topic, "a"), source(topic, "b"), sink([])), tmp_path).run()
    assert caught.group_contains(Fatal)


async def test_a_source_that_was_never_assigned_anything_is_a_bug(tmp_path: Path) -> None:
    class Forgets(MemorySource):
        async def assign(self, partitions: Any) -> None:
            self._positions.update(dict.fromkeys(partitions, 0))

    topic = topic_of(10)
    forgets = stage("source", "in", lambda context: Forgets(topic, context))
    with pytest.raises(ExceptionGroup) as caught:
        await life_of(pipeline(forgets, sink([])), tmp_path).run()
    assert caught.group_contains(Fatal)


def window_over(topic: Any, windows: list[Any], rows: list[Any], missing: Any) -> Any:
    return pipeline(
        source(topic, endless=True),
        stage("window", "w", SumWindow),
        sink(windows, "windows", inputs=("w",)),
        sink(rows),
        options=PipelineOptions(on_missing_state=missing),
    )


def foreign_world() -> tuple[Any, MemoryStore]:
    """A store that knows the partition up to 5, and a group that another has brought to 10."""
    topic, store = topic_of(30), MemoryStore("ours")
    store.epochs["test"] = 3
    store.positions_of["test"] = {"in": {"events:0": 5}}
    topic.committed["events:0"] = Committed(10, "theirs:7")
    return topic, store


@pytest.mark.parametrize("tag", ["theirs:7", "", "ours2:1"])
async def test_whoever_committed_last_knows_the_position(tag: str, tmp_path: Path) -> None:
    topic, store = foreign_world()
    topic.committed["events:0"] = Committed(10, tag)
    rows: list[Any] = []
    await life_of(pipeline(source(topic), sink(rows)), tmp_path, store).run()
    assert numbers(rows) == list(range(10, 30))


async def test_our_own_checkpoint_is_ahead_of_our_own_commit(tmp_path: Path) -> None:
    topic, store = foreign_world()
    topic.committed["events:0"] = Committed(3, "ours:2")
    rows: list[Any] = []
    await life_of(pipeline(source(topic), sink(rows)), tmp_path, store).run()
    assert numbers(rows) == list(range(5, 30))


async def test_state_that_another_has_gone_past_pauses_the_source(tmp_path: Path) -> None:
    topic, store = foreign_world()
    rows: list[Any] = []
    life = life_of(window_over(topic, [], rows, "pause"), tmp_path, store)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(60)
        assert "another daemon" in (life.runners["in"].health.reason or "")
        group.cancel_scope.cancel()
    assert rows == []
    assert store.positions_of["test"]["in"] == {"events:0": 5}, "nothing is thrown away"


async def test_where_nothing_was_read_no_state_can_be_missing(tmp_path: Path) -> None:
    topic, store = topic_of(30), MemoryStore("ours")
    topic.committed["events:0"] = Committed(10, NOTHING_READ)
    windows: list[Any] = []
    life = life_of(window_over(topic, windows, [], "pause"), tmp_path, store)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(60)
        group.cancel_scope.cancel()
    assert [row["total"] for row in windows] == [sum(range(10, 20)), sum(range(20, 30))]


async def test_a_beginning_does_not_win_over_our_own_checkpoint(tmp_path: Path) -> None:
    topic, store = foreign_world()
    topic.committed["events:0"] = Committed(10, NOTHING_READ)
    rows: list[Any] = []
    await life_of(pipeline(source(topic), sink(rows)), tmp_path, store).run()
    assert numbers(rows) == list(range(5, 30))


async def test_state_that_another_has_gone_past_starts_anew_if_asked(tmp_path: Path) -> None:
    topic, store = foreign_world()
    windows: list[Any] = []
    life = life_of(window_over(topic, windows, [], "reset"), tmp_path, store)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(60)
        group.cancel_scope.cancel()
    assert [row["total"] for row in windows] == [sum(range(10, 20)), sum(range(20, 30))]


async def test_a_sink_that_stays_down_never_lets_a_position_past_it(tmp_path: Path) -> None:
    topic, store = topic_of(1000), MemoryStore()
    rows: list[Any] = []
    spec = pipeline(
        source(topic, endless=True),
        sink(rows),
        sink([], "down", fail=down),
        options=PipelineOptions(batch_events=10, epoch_events=10),
    )
    life = life_of(spec, tmp_path, store)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(600)
        group.cancel_scope.cancel()
    assert len(rows) == 1000, "the other sink is not held up"
    assert topic.committed == {}
    assert store.positions_of == {}


async def test_a_sink_that_is_opened_is_a_sink_that_is_written_to(tmp_path: Path) -> None:
    seen: list[str] = []

    class Watches(MemorySink):
        async def __aenter__(self) -> "Watches":
            seen.append("opened")
            return self

        async def __aexit__(self, *_exc: object) -> None:
            seen.append("closed")

        async def write(self, batch: Batch) -> None:
            seen.append("written")

    spec = pipeline(source(topic_of(1)), stage("sink", "out", lambda _context: Watches([])))
    await life_of(spec, tmp_path).run()
    assert seen == ["opened", "written", "closed"]
