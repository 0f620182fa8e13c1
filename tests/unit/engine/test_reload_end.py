"""A life that ends while it is being reloaded takes the reload along, and nobody else."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self

import anyio
import pytest

from streamd.api import Duration, Fatal
from streamd.engine.phase import ReloadRefusedError
from streamd.engine.pipeline import Pipeline
from streamd.engine.supervisor import Supervisor
from streamd.settings.model import PipelineOptions, StageSpec
from streamd.testing.harness import pipeline, reload, stage, surroundings
from streamd.testing.memory import MemorySink, MemorySource, MemoryStore, MemoryTopic
from tests.unit.engine.doubles import (
    feed,
    life_of,
    mark,
    numbers,
    running,
    sink,
    source,
    topic_of,
)

BRIEFLY = PipelineOptions(drain_timeout=Duration("10s"))


async def failure_of(run: Coroutine[Any, Any, Any]) -> BaseException | None:
    """What it raises, a cancellation included."""
    try:
        await run
    except BaseException as error:
        return error
    return None


async def ends(task: asyncio.Task[Any], within: float = 60) -> Any:
    """What a task returns. Waits so many seconds, also for one that no cancellation reaches."""
    await asyncio.wait({task}, timeout=within)
    assert task.done(), "it hangs"
    return task.result()


class SlowToOpen(MemorySink):
    def __init__(self, seconds: float) -> None:
        super().__init__([])
        self.seconds = seconds

    async def __aenter__(self) -> Self:
        await anyio.sleep(self.seconds)
        return self


def opens_in(seconds: float) -> StageSpec:
    return stage("sink", "new", lambda _context: SlowToOpen(seconds))


async def test_a_life_that_fails_while_a_stage_is_opened_refuses_the_reload(tmp_path: Path) -> None:
    src, out = source(topic_of(3), endless=True), sink([])
    life = life_of(pipeline(src, out), tmp_path)
    run = asyncio.create_task(failure_of(life.run()))
    await anyio.sleep(1)
    asked = asyncio.create_task(failure_of(reload(life, pipeline(src, out, opens_in(10)))))
    await anyio.sleep(1)
    life.fail(Fatal("over"))
    assert isinstance(await ends(asked), ReloadRefusedError), "not a cancellation of who asked"
    assert isinstance(await ends(run), ExceptionGroup)


@pytest.mark.parametrize("seconds", [5, 1_000_000])
async def test_a_stop_does_not_wait_for_what_a_reload_opens(seconds: float, tmp_path: Path) -> None:
    topic = topic_of(30)
    rows: list[Any] = []
    src, out = source(topic, endless=True), sink(rows)
    life = life_of(pipeline(src, out, options=BRIEFLY), tmp_path)
    run = asyncio.create_task(failure_of(life.run()))
    await anyio.sleep(1)
    asked = asyncio.create_task(failure_of(reload(life, pipeline(src, out, opens_in(seconds)))))
    await anyio.sleep(1)
    feed(topic, 30)
    life.stop()
    assert isinstance(await ends(asked), ReloadRefusedError)
    assert await ends(run) is None
    assert anyio.current_time() < 3
    read = topic.committed["events:0"].position
    assert numbers(rows) == list(range(read)), "what was in flight is drained"


class Stops(MemorySink):
    """Opens, and somebody stops the pipeline in that very turn of the loop."""

    def __init__(self, lives: list[Pipeline]) -> None:
        super().__init__([])
        self.lives = lives

    async def __aenter__(self) -> Self:
        await anyio.sleep(1)
        self.lives[0].stop()
        return self


@pytest.mark.parametrize("reloads", [False, True], ids=["at the start", "in a reload"])
async def test_a_stop_at_the_moment_at_which_a_stage_is_open(reloads: bool, tmp_path: Path) -> None:
    lives: list[Pipeline] = []
    stops = stage("sink", "stops", lambda _context: Stops(lives))
    src, out = source(topic_of(3), endless=True), sink([])
    before, after = pipeline(src, out), pipeline(src, out, stops)
    lives.append(life_of(before if reloads else after, tmp_path))
    run = asyncio.create_task(failure_of(lives[0].run()))
    if reloads:
        await anyio.sleep(1)
        asked = asyncio.create_task(failure_of(reload(lives[0], after)))
        assert isinstance(await ends(asked), ReloadRefusedError)
    assert await ends(run) is None


class SlowToLeave(MemorySource):
    async def __aexit__(self, *_exc: object) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)


@pytest.mark.parametrize("fails", [False, True], ids=["stopped", "failed"])
async def test_a_life_that_ends_while_a_reload_closes_a_source(fails: bool, tmp_path: Path) -> None:
    topic = topic_of(3)
    old = stage("source", "in", lambda context: SlowToLeave(topic, context, endless=True))
    beside, out = source(topic_of(3, name="other"), "beside", endless=True), sink([])
    life = life_of(pipeline(old, beside, out, options=BRIEFLY), tmp_path)
    run = asyncio.create_task(failure_of(life.run()))
    await anyio.sleep(1)
    new = pipeline(source(topic, endless=True), beside, out)
    asked = asyncio.create_task(failure_of(reload(life, new)))
    await anyio.sleep(2)
    if fails:
        life.fail(Fatal("over"))
    else:
        life.stop()
    failed = await ends(run)
    await ends(asked)
    assert isinstance(failed, ExceptionGroup) if fails else failed is None


class Hangs(MemorySource):
    async def __aenter__(self) -> Self:
        await anyio.sleep_forever()
        return self


async def test_a_stage_that_never_opens_does_not_keep_the_next_reload_out(tmp_path: Path) -> None:
    topic = topic_of(10)
    rows: list[Any] = []
    src, out = source(topic, endless=True), sink(rows)
    hanging = stage("source", "in", lambda context: Hangs(topic, context))
    async with running(pipeline(src, out), tmp_path) as life:
        await anyio.sleep(1)
        for never in (pipeline(src, out, opens_in(1e9)), pipeline(hanging, out)):
            with anyio.fail_after(300), pytest.raises(ReloadRefusedError):
                await reload(life, never)
        await reload(life, pipeline(src, mark("new"), out))
        feed(topic, 10)
        await anyio.sleep(10)
    assert numbers(rows) == list(range(20))
    assert sum("by" in row for row in rows) == 10


async def test_a_life_that_fails_once_the_new_version_has_taken_over_goes_on_by_it(
    tmp_path: Path,
) -> None:
    """What the old version alone knew is forgotten by then."""

    class LeavesSlowly(MemorySink):
        async def __aexit__(self, *_exc: object) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)

    topic: MemoryTopic = topic_of(10)
    rows: list[Any] = []
    src = source(topic, endless=True)
    old = pipeline(src, stage("sink", "out", lambda _context: LeavesSlowly(rows)))
    new = pipeline(src, mark("new"), sink(rows))
    supervisor = Supervisor(old, surroundings(MemoryStore(), state_dir=tmp_path))

    async def ask() -> None:
        await supervisor.carry_out(await supervisor.prepare(new), new, "")

    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await anyio.sleep(1)
        group.start_soon(ask)
        await anyio.sleep(1)
        supervisor._life.fail(Fatal("over"))
        await anyio.sleep(60)
        feed(topic, 10)
        await anyio.sleep(10)
        assert supervisor.spec is supervisor._life.spec is new
        group.cancel_scope.cancel()
    assert [row.get("by") for row in rows] == [None] * 10 + ["new"] * 10
