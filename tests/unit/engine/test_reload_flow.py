"""What is under way when a reload comes: writes, dead letters, clients, partitions that move."""

from collections import Counter
from pathlib import Path
from typing import Any, Self

import anyio
import pytest

from streamd.api import DEAD_LETTERS, Batch, BatchLimits, DeadLetter, Rejected
from streamd.testing.harness import pipeline, reload, stage
from streamd.testing.memory import MemorySink, MemorySource
from tests.unit.engine.doubles import (
    Made,
    Requests,
    SlowSink,
    Verdicts,
    down,
    feed,
    mark,
    numbers,
    refuse,
    running,
    sink,
    source,
    topic_of,
)


async def test_a_write_that_is_under_way_in_a_sink_that_stays_is_not_begun_again(
    tmp_path: Path,
) -> None:
    topic = topic_of(100)
    rows: list[Any] = []
    stays = SlowSink(rows, 10)
    out = stage("sink", "out", lambda _context: stays)
    src = source(topic, endless=True)
    async with running(pipeline(src, mark("old"), out), tmp_path) as life:
        await anyio.sleep(1)
        for turn in range(5):
            await reload(life, pipeline(src, mark(f"v{turn}"), out, sink([], "beside")))
            await reload(life, pipeline(src, mark(f"w{turn}"), out))
        await anyio.sleep(30)
    assert stays.writes == 1
    assert numbers(rows) == list(range(100))


@pytest.mark.parametrize("written_after", [0.0, 0.5, 1.0, 1.5])
async def test_a_sink_is_replaced_at_any_moment_of_a_write_and_nothing_is_lost(
    written_after: float, tmp_path: Path
) -> None:
    """The write of the old sink ends just before, just when and just after it is replaced."""

    class Shielded(MemorySink):
        async def write(self, batch: Batch) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(written_after)
            self.rows.extend(batch.values)

    topic = topic_of(100)
    rows: list[Any] = []
    src = source(topic, endless=True)
    limits = BatchLimits(rows=40)
    old = stage("sink", "out", lambda _context: Shielded(rows), batch=limits)
    async with running(pipeline(src, old), tmp_path) as life:
        await anyio.sleep(1)
        await reload(life, pipeline(src, sink(rows, batch=limits)))
        await anyio.sleep(10)
        assert life.parts is not None
        assert life.parts.ledger.idle
    stored = Counter(row["n"] for row in rows)
    assert set(stored) == set(range(100))
    assert max(stored.values()) <= 2, "of the write that was under way, once more at most"
    assert topic.committed["events:0"].position == 100


async def test_dead_letters_on_their_way_reach_the_sink_that_replaces_theirs(
    tmp_path: Path,
) -> None:
    topic = topic_of(50)
    dead: list[Any] = []
    src, out = source(topic, endless=True), sink([], fail=refuse)
    policies = [Verdicts({Rejected: DeadLetter()})]
    away = sink([], "dlq", inputs=(DEAD_LETTERS,), fail=down)
    back = sink(dead, "dlq", inputs=(DEAD_LETTERS,))
    async with running(pipeline(src, out, away, policies=policies), tmp_path) as life:
        await anyio.sleep(30)
        assert topic.committed == {}
        await reload(life, pipeline(src, out, back, policies=policies))
        await anyio.sleep(10)
    assert sorted(doc["metadata"]["offset"] for doc in dead) == list(range(50))
    assert topic.committed["events:0"].position == 50


async def test_clients_are_answered_by_the_sink_that_replaces_a_dead_one(tmp_path: Path) -> None:
    made = Made(Requests)
    http = stage("source", "http", made)
    rows: list[Any] = []
    async with running(pipeline(http, sink([], fail=down)), tmp_path) as life:
        await anyio.sleep(1)
        for number in range(10):
            made.last.ask(number)
        await anyio.sleep(60)
        assert made.last.answers == {}
        await reload(life, pipeline(http, sink(rows)))
        await anyio.sleep(2)
        assert {outcome for _, outcome in made.last.answers.values()} == {"stored"}
    assert numbers(rows) == list(range(10))
    assert len(made.all) == 1, "the source that they wait at is the same"


async def test_clients_of_a_source_that_is_replaced_get_their_answer_first(tmp_path: Path) -> None:
    made = Made(Requests)
    rows: list[Any] = []
    slow = stage("sink", "out", lambda _context: SlowSink(rows, 3))
    async with running(pipeline(stage("source", "http", made), slow), tmp_path) as life:
        await anyio.sleep(1)
        for number in range(10):
            made.last.ask(number)
        await anyio.sleep(1)
        first = made.last
        await reload(life, pipeline(stage("source", "http", made), slow))
        assert len(first.answers) == 10
        made.last.ask(10)
        await anyio.sleep(10)
        assert len(made.last.answers) == 1
    assert numbers(rows) == list(range(11))


async def test_a_partition_that_is_revoked_meanwhile_is_let_go_as_ever(tmp_path: Path) -> None:
    class OpensSlowly(MemorySink):
        async def __aenter__(self) -> Self:
            await anyio.sleep(5)
            return self

    topic = topic_of(50)
    made = Made(lambda context: MemorySource(topic, context, endless=True))
    src = stage("source", "in", made)
    out = stage("sink", "out", lambda _context: SlowSink([], 2))
    more = stage("sink", "more", lambda _context: OpensSlowly([]))
    async with running(pipeline(src, out), tmp_path) as life, anyio.create_task_group() as group:
        await anyio.sleep(1)
        group.start_soon(reload, life, pipeline(src, mark("new"), out, more))
        await anyio.sleep(1)
        await made.last._control.revoking(["events:0"])
        assert topic.committed["events:0"].position == 50
        await anyio.sleep(20)
        assert life.parts is not None
        assert life.parts.intake.owners == {}


async def test_many_reloads_do_not_keep_a_sink_from_writing(tmp_path: Path) -> None:
    """The writes of a sink that changes each time begin again, but those of others go on."""
    topic = topic_of(0)
    rows: list[Any] = []
    slow = stage("sink", "slow", lambda _context: SlowSink(rows, 1.5))
    src = source(topic, endless=True)
    async with running(pipeline(src, slow, sink([])), tmp_path) as life:
        await anyio.sleep(1)
        for _ in range(60):
            feed(topic, 5)
            await reload(life, pipeline(src, slow, sink([])))
            await anyio.sleep(0.5)
        assert len(rows) > 200
    assert max(Counter(row["n"] for row in rows).values()) == 1
