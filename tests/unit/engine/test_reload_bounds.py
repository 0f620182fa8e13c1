"""What a reload costs: nothing is left behind, and what stays is not touched."""

import asyncio
import gc
from collections import Counter
from pathlib import Path
from typing import Any, Self

import anyio
import pytest

from streamd.engine.phase import ReloadRefusedError
from streamd.engine.slot import Slot
from streamd.engine.source_runner import SourceRunner
from streamd.engine.status import status_of
from streamd.settings.model import PipelineSpec, StageSpec
from streamd.testing.harness import pipeline, reload, stage
from streamd.testing.memory import MemorySink, MemorySource, MemoryTopic
from tests.unit.engine.doubles import (
    Made,
    feed,
    mark,
    numbers,
    running,
    sink,
    source,
    topic_of,
)


class Doors:
    """How many stages are open, by name."""

    def __init__(self) -> None:
        self.open: Counter[str] = Counter()

    def sink(self, name: str, rows: list[Any]) -> StageSpec:
        doors = self

        class Counted(MemorySink):
            async def __aenter__(self) -> Self:
                doors.open[name] += 1
                return self

            async def __aexit__(self, *_exc: object) -> None:
                doors.open[name] -= 1

        return stage("sink", name, lambda _context: Counted(rows))

    def source(self, topic: MemoryTopic) -> StageSpec:
        doors = self

        class Counted(MemorySource):
            async def __aenter__(self) -> Self:
                doors.open["in"] += 1
                return self

            async def __aexit__(self, *_exc: object) -> None:
                doors.open["in"] -= 1

        return stage("source", "in", lambda context: Counted(topic, context, endless=True))


def alive(kind: type) -> int:
    gc.collect()
    return sum(isinstance(thing, kind) for thing in gc.get_objects())


async def test_a_thousand_reloads_leave_nothing_behind(tmp_path: Path) -> None:
    doors, topic = Doors(), topic_of(0)
    rows: list[Any] = []

    def version(turn: int) -> PipelineSpec:
        stages = [doors.source(topic), mark(f"v{turn}"), doors.sink("out", rows)]
        if turn % 2:
            stages.append(doors.sink("extra", []))
        return pipeline(*stages)

    async with running(version(0), tmp_path) as life:
        await anyio.sleep(1)
        kinds = (Slot, SourceRunner)
        tasks, before = len(asyncio.all_tasks()), [alive(kind) for kind in kinds]
        for turn in range(1, 1001):
            feed(topic, 3)
            await reload(life, version(turn))
        await anyio.sleep(5)
        assert len(asyncio.all_tasks()) == tasks
        assert all(alive(kind) <= was for kind, was in zip(kinds, before, strict=True))
        assert doors.open == {"in": 1, "out": 1, "extra": 0}
        status = status_of(life, 0)
    assert status.ready
    assert status.stages.keys() == {"in", "mark", "out"}
    assert numbers(rows) == list(range(3000))
    assert doors.open.total() == 0


async def test_a_reload_that_changes_nothing_touches_nothing(tmp_path: Path) -> None:
    doors, topic = Doors(), topic_of(10)
    rows: list[Any] = []
    made = Made(lambda context: MemorySource(topic, context, endless=True))
    stages = [stage("source", "in", made), mark("same"), doors.sink("out", rows)]
    async with running(pipeline(*stages), tmp_path) as life:
        await anyio.sleep(1)
        assert life.parts is not None
        objects = life.parts.stages.objects()
        for _ in range(10):
            assert await reload(life, pipeline(*stages)) == 0
        assert life.parts.stages.objects() == objects
        assert doors.open == {"out": 1}
    assert len(made.all) == 1
    assert numbers(rows) == list(range(10))


async def test_where_constructing_opening_or_leaving_fails_the_old_goes_on(tmp_path: Path) -> None:
    topic = topic_of(10)
    rows: list[Any] = []
    doors = Doors()
    src, out = source(topic, endless=True), sink(rows)

    def broken(_context: Any) -> MemorySink:
        raise ValueError("a bug of a constructor")

    class NotLeft(MemorySink):
        async def __aexit__(self, *_exc: object) -> None:
            raise OSError("connection reset")

    class NotOpened(MemorySink):
        async def __aenter__(self) -> Self:
            raise OSError("no such host")

    bad = [
        [stage("sink", "x", broken)],
        [doors.sink("y", []), stage("sink", "x", lambda _context: NotOpened([]))],
        [
            stage("sink", "y", lambda _context: NotLeft([])),
            stage("sink", "x", lambda _context: NotOpened([])),
        ],
    ]
    async with running(pipeline(src, out), tmp_path) as life:
        for extra in bad:
            await anyio.sleep(1)
            with pytest.raises((ReloadRefusedError, ValueError)):
                await reload(life, pipeline(src, mark("new"), out, *extra))
            feed(topic, 10)
        await anyio.sleep(5)
        assert life.state == "running"
        assert doors.open.total() == 0
    assert numbers(rows) == list(range(40))
    assert not any("by" in row for row in rows)
