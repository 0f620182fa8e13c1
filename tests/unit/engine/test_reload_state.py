"""State over reloads: given up only where it was asked for, never mixed, not lost by a refusal."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Self

import anyio
import msgspec
import pytest

from streamd.api import Batch, Fatal, FunctionStep, Retryable
from streamd.engine.phase import ReloadRefusedError
from streamd.engine.store import StateRow
from streamd.engine.supervisor import Supervisor
from streamd.settings.model import PipelineSpec, StageSpec
from streamd.testing.harness import pipeline, reload, stage, surroundings
from streamd.testing.memory import MemorySource, MemoryStore
from tests.unit.engine.doubles import OutOfOrder, feed, life_of, numbers, sink, source, topic_of
from tests.unit.engine.test_reload import counting, with_output


def count(**settings: Any) -> StageSpec:
    return with_output(counting(**settings))


def anew(step: StageSpec) -> StageSpec:
    return msgspec.structs.replace(step, reset_state=True)


async def test_state_that_was_started_anew_does_not_stop_the_next_start(tmp_path: Path) -> None:
    topic, store = topic_of(20), MemoryStore()
    rows: list[Any] = []
    src, out = source(topic, endless=True), sink(rows)
    life = life_of(pipeline(src, count(), out), tmp_path, store)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(3)
        await reload(life, pipeline(src, anew(count(start=1000)), out))
        feed(topic, 10)
        await anyio.sleep(3)
        await reload(life, pipeline(src, count(start=1000), out))
        feed(topic, 10)
        await anyio.sleep(3)
        life.stop()
    feed(topic, 10)
    life = life_of(pipeline(src, count(start=1000), out), tmp_path, store)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(3)
        life.stop()
    assert [row["count"] for row in rows] == [*range(20), *range(1000, 1030)]


@pytest.mark.parametrize("at_once", [True, False], ids=["added again by reload", "by a new start"])
async def test_a_step_that_comes_back_begins_anew_whatever_was_in_flight(
    at_once: bool, tmp_path: Path
) -> None:
    """A sink that is away keeps epochs in flight, and in them changes of the step of before."""
    away = True

    def fail(_batch: Batch) -> None:
        if away:
            raise Retryable("down")

    topic, store = topic_of(20), MemoryStore()
    rows: list[Any] = []
    src, out = source(topic, endless=True), sink(rows, fail=fail)
    life = life_of(pipeline(src, count(), out), tmp_path, store)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(3)
        await reload(life, pipeline(src, out))
        feed(topic, 5)
        await anyio.sleep(3)
        if at_once:
            await reload(life, pipeline(src, count(), out))
        away = False
        await anyio.sleep(60)
        group.cancel_scope.cancel()
    feed(topic, 5)
    rows.clear()
    life = life_of(pipeline(src, count(), out), tmp_path, store)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(3)
        life.stop()
    assert [row["count"] for row in rows] == list(range(5))


class Fails(MemoryStore):
    """Cannot say what a step remembers, as long as it is `bad`."""

    bad = False

    async def state(
        self, pipeline: str, step: str, key: str, partitions: Collection[str]
    ) -> list[StateRow]:
        if self.bad:
            raise Retryable("disk I/O error")
        return await super().state(pipeline, step, key, partitions)


class Doors(FunctionStep):
    """How many of its kind are open."""

    open = 0

    async def __aenter__(self) -> Self:
        Doors.open += 1
        return self

    async def __aexit__(self, *_exc: object) -> None:
        Doors.open -= 1


async def ask(supervisor: Supervisor, spec: PipelineSpec) -> None:
    await supervisor.carry_out(await supervisor.prepare(spec), spec, "")


@pytest.mark.parametrize("source_too", [True, False])
async def test_a_store_that_fails_in_the_swap_leaves_the_old_version(
    source_too: bool, tmp_path: Path
) -> None:
    topic, store = topic_of(10), Fails()
    rows: list[Any] = []
    src, out = source(topic, endless=True), sink(rows)
    old = pipeline(src, count(label="old"), out)
    supervisor = Supervisor(old, surroundings(store, state_dir=tmp_path))
    doors = stage("transform", "doors", lambda _context: Doors(lambda event: event))
    new_source = source(topic, endless=True) if source_too else src
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await anyio.sleep(1)
        store.bad = True
        with pytest.raises(ReloadRefusedError, match="disk"):
            await ask(supervisor, pipeline(new_source, count(label="new"), doors, out))
        store.bad = False
        feed(topic, 10)
        await anyio.sleep(30)
        assert Doors.open == 0
        assert supervisor.status().state == "running"
        assert supervisor.spec is supervisor._life.spec is old
        group.cancel_scope.cancel()
    assert [row["count"] for row in rows] == list(range(20))
    assert {row["label"] for row in rows} == {"old"}


async def test_a_step_that_holds_the_chain_is_replaced_by_a_new_start(tmp_path: Path) -> None:
    """What one reloads for: somebody has acted, and the step would wait for him for ever."""
    topic = topic_of(10)
    rows: list[Any] = []
    src, out = source(topic, endless=True), sink(rows)
    waits = pipeline(src, stage("transform", "t", OutOfOrder), out)
    mended = pipeline(src, stage("transform", "t", lambda _context: FunctionStep(dict)), out)
    supervisor = Supervisor(waits, surroundings(MemoryStore(), state_dir=tmp_path))
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await anyio.sleep(100)
        with anyio.fail_after(60):
            await ask(supervisor, mended)
        await anyio.sleep(5)
        assert supervisor.status().ready
        group.cancel_scope.cancel()
    assert numbers(rows) == list(range(10))
    assert topic.committed["events:0"].position == 10


async def test_a_pipeline_that_waits_for_its_start_keeps_its_state_too(tmp_path: Path) -> None:
    failing = False

    class Breaks(MemorySource):
        async def poll(self, max_events: int, timeout: float) -> list[Batch]:
            if failing:
                raise Fatal("over")
            return await super().poll(max_events, timeout)

    topic = topic_of(10)
    rows: list[Any] = []
    src = stage("source", "in", lambda context: Breaks(topic, context, endless=True))
    out = sink(rows)
    supervisor = Supervisor(
        pipeline(src, count(), out), surroundings(MemoryStore(), state_dir=tmp_path)
    )
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await anyio.sleep(3)
        failing = True
        await anyio.sleep(1)
        assert supervisor.status().state == "failed"
        with pytest.raises(ReloadRefusedError, match="reset_state"):
            await ask(supervisor, pipeline(src, count(start=1000), out))
        failing = False
        labelled = pipeline(src, count(label="new"), out)
        await ask(supervisor, labelled)
        feed(topic, 10)
        await anyio.sleep(10)
        assert supervisor._life.spec is labelled
        group.cancel_scope.cancel()
    assert [row["count"] for row in rows] == list(range(20))
