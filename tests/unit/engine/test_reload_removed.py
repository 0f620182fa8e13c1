"""A sink that is removed writes what it holds, tells of it, and may come back meanwhile."""

from pathlib import Path
from typing import Any, Self

import anyio
import pytest

from streamd.api import Retryable
from streamd.engine.phase import ReloadRefusedError
from streamd.engine.status import status_of
from streamd.testing.harness import pipeline, reload, stage
from streamd.testing.memory import MemorySink, MemorySource, MemoryTopic
from tests.unit.engine.doubles import (
    SlowSink,
    down,
    feed,
    numbers,
    running,
    sink,
    source,
    topic_of,
)


async def test_a_dead_sink_that_was_removed_is_named_and_is_no_reason_to_kill_the_daemon(
    tmp_path: Path,
) -> None:
    src, out = source(topic_of(3), endless=True), sink([])
    async with running(pipeline(src, out, sink([], "dead", fail=down)), tmp_path) as life:
        await anyio.sleep(10)
        await reload(life, pipeline(src, out))
        await anyio.sleep(200)
        status = status_of(life, 0)
    assert not status.stuck
    assert any("dead" in problem for problem in status.problems)
    assert next(s.queued for name, s in status.stages.items() if "dead" in name) == 3


async def test_a_dead_sink_that_was_removed_comes_back_with_a_good_address(tmp_path: Path) -> None:
    topic = topic_of(10)
    rows: list[Any] = []
    src, out = source(topic, endless=True), sink([])
    async with running(pipeline(src, out, sink([], "back", fail=down)), tmp_path) as life:
        await anyio.sleep(10)
        await reload(life, pipeline(src, out))
        await anyio.sleep(10)
        await reload(life, pipeline(src, out, sink(rows, "back")))
        feed(topic, 10)
        await anyio.sleep(10)
        assert not life.draining
    assert numbers(rows) == list(range(20))
    assert topic.committed["events:0"].position == 20


class OpensSlowly(MemorySink):
    async def __aenter__(self) -> Self:
        await anyio.sleep(20)
        return self


class LeavesSlowly(SlowSink):
    async def __aexit__(self, *_exc: object) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(10)


@pytest.mark.parametrize(
    ("comes_after", "new"),
    [(0, OpensSlowly), (4, MemorySink)],
    ids=["it drains while the new one opens", "it is being closed"],
)
async def test_a_sink_that_comes_back_just_as_it_has_drained_is_written_to(
    comes_after: float, new: type[MemorySink], tmp_path: Path
) -> None:
    topic = topic_of(10)
    rows: list[Any] = []
    src, out = source(topic, endless=True), sink([])
    old = stage("sink", "back", lambda _context: LeavesSlowly([], 2))
    async with running(pipeline(src, out, old), tmp_path) as life:
        await anyio.sleep(1)
        await reload(life, pipeline(src, out))
        await anyio.sleep(comes_after)
        again = stage("sink", "back", lambda _context: new(rows))
        await reload(life, pipeline(src, out, again))
        feed(topic, 10)
        await anyio.sleep(20)
    assert {row["n"] for row in rows} >= set(range(10, 20))
    assert topic.committed["events:0"].position == 20


async def test_it_drains_on_if_the_reload_that_was_to_bring_it_back_is_refused(
    tmp_path: Path,
) -> None:
    class Broken(MemorySource):
        async def __aenter__(self) -> Self:
            raise Retryable("no broker")

    class Noted(SlowSink):
        async def __aexit__(self, *_exc: object) -> None:
            left.append(len(self.rows))

    left: list[int] = []
    topic: MemoryTopic = topic_of(10)
    src, out = source(topic, endless=True), sink([])
    broken = stage("source", "in", lambda context: Broken(topic, context))
    old = stage("sink", "back", lambda _context: Noted([], 40))
    async with running(pipeline(src, out, old), tmp_path) as life:
        await anyio.sleep(1)
        await reload(life, pipeline(src, out))
        with pytest.raises(ReloadRefusedError, match="no broker"):
            await reload(life, pipeline(broken, out, sink([], "back")))
        assert "back" in life.draining
        await anyio.sleep(100)
        assert left == [10]
        assert not life.draining


async def test_a_dead_sink_that_cannot_be_left_does_not_hurt_what_replaces_it(
    tmp_path: Path,
) -> None:
    class NotLeft(MemorySink):
        async def __aexit__(self, *_exc: object) -> None:
            raise OSError("connection reset")

    rows: list[Any] = []
    src = source(topic_of(10), endless=True)
    dead = stage("sink", "out", lambda _context: NotLeft([], fail=down))
    async with running(pipeline(src, dead), tmp_path) as life:
        await anyio.sleep(5)
        await reload(life, pipeline(src, sink(rows)))
        await anyio.sleep(10)
        assert life.state == "running"
    assert numbers(rows) == list(range(10))
