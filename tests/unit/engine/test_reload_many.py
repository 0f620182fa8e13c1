"""Several pipelines of one configuration: all are readied before any is changed."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import anyio
import msgspec
import pytest

from streamd import reloading
from streamd.api import Fatal, Retryable
from streamd.engine.supervisor import Supervisor
from streamd.reloading import Reloader
from streamd.settings.model import DaemonOptions, PipelineSpec, Settings, StageSpec
from streamd.telemetry.metrics import Telemetry
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemorySink, MemorySource, MemoryStore, MemoryTopic
from tests.unit.engine.doubles import SlowSink, feed, numbers, sink, source, topic_of
from tests.unit.engine.test_reload import counting, with_output


class NotOpened(MemorySink):
    async def __aenter__(self) -> Self:
        raise Retryable("no such host")


class World:
    """The pipelines a and b, and who reloads them. `hook` is told of each reload."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = MemoryStore()
        self.topic = topic_of(20, name="a")
        self.rows: list[Any] = []
        self.src = source(self.topic, endless=True)
        self.out = sink(self.rows)
        self.b = pipeline(source(topic_of(3, name="b"), endless=True), sink([]), name="b")
        self.around = surroundings(self.store, state_dir=tmp_path)
        self.supervisors: dict[str, Supervisor] = {}
        self.hook: Callable[..., None] = lambda **_told: None
        self.file: Settings
        self.stopping = False
        self.started: list[str] = []

        async def load(*_args: object) -> Settings:
            await anyio.sleep(1)
            return self.file

        monkeypatch.setattr(reloading, "to_thread", SimpleNamespace(run_sync=load))
        monkeypatch.setattr(reloading, "needs_restart", lambda *_: [])

    def a(self, *stages: StageSpec) -> PipelineSpec:
        return pipeline(self.src, *stages, name="a")

    def b_with(self, *stages: StageSpec) -> PipelineSpec:
        return pipeline(*self.b.sources, *self.b.sinks, *stages, name="b")

    def settings(self, *pipelines: PipelineSpec) -> Settings:
        def tell(**told: Any) -> None:
            self.hook(**told)

        catalog = SimpleNamespace(hook=SimpleNamespace(streamd_config_reloaded=tell))
        return Settings(
            path=Path("streamd.toml"),
            digest="",
            daemon=DaemonOptions(),
            pipelines=pipelines,
            catalog=catalog,
        )

    async def run(
        self, old: Settings, test: Callable[[Reloader], Awaitable[None]], after: float = 3
    ) -> None:
        self.supervisors |= {s.name: Supervisor(s, self.around) for s in old.pipelines}
        async with anyio.create_task_group() as group:

            def start(spec: PipelineSpec, _settings: Settings) -> None:
                self.started.append(spec.name)
                self.supervisors[spec.name] = Supervisor(spec, self.around)
                group.start_soon(self.supervisors[spec.name].run)

            for supervisor in self.supervisors.values():
                group.start_soon(supervisor.run)
            await anyio.sleep(after)
            await test(Reloader(self.supervisors, start, lambda: self.stopping, Telemetry()))
            group.cancel_scope.cancel()

    def runs_by(self, settings: Settings) -> None:
        """What the daemon calls its configuration is what its pipelines run by."""
        for spec in settings.pipelines:
            supervisor = self.supervisors[spec.name]
            assert supervisor.spec is spec
            assert supervisor._life.spec is spec
            assert supervisor.status().state == "running"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def count(**settings: Any) -> StageSpec:
    return with_output(counting(**settings))


def not_opened() -> StageSpec:
    return stage("sink", "new", lambda _context: NotOpened([]))


@pytest.mark.parametrize("change", ["the step is removed", "its state is started anew"])
async def test_when_the_second_refuses_the_first_keeps_its_state(world: World, change: str) -> None:
    if change == "the step is removed":
        after = world.a(world.out)
    else:
        anew = msgspec.structs.replace(count(start=1000), reset_state=True)
        after = world.a(anew, world.out)
    old = world.settings(world.a(count(), world.out), world.b)
    world.file = world.settings(after, world.b_with(not_opened()))

    async def test(reloader: Reloader) -> None:
        assert await reloader.reload(old) is old
        feed(world.topic, 10)
        await anyio.sleep(5)
        world.runs_by(old)

    await world.run(old, test)
    assert [row["count"] for row in world.rows] == list(range(30))


async def test_when_the_second_refuses_a_sink_that_was_to_go_stays(world: World) -> None:
    slow_rows: list[Any] = []
    slow = stage("sink", "slow", lambda _context: SlowSink(slow_rows, 8))
    old = world.settings(world.a(world.out, slow), world.b)
    world.file = world.settings(world.a(world.out), world.b_with(not_opened()))

    async def test(reloader: Reloader) -> None:
        assert await reloader.reload(old) is old
        feed(world.topic, 10)
        await anyio.sleep(60)
        world.runs_by(old)

    await world.run(old, test)
    assert numbers(slow_rows) == list(range(30))


class Noted(MemorySink):
    """Counts how many of its kind are open."""

    open = 0

    async def __aenter__(self) -> Self:
        Noted.open += 1
        return self

    async def __aexit__(self, *_exc: object) -> None:
        Noted.open -= 1


async def test_what_the_first_has_opened_is_closed_whatever_the_second_fails_with(
    world: World,
) -> None:
    def broken(_context: Any) -> MemorySink:
        raise ValueError("a bug of a constructor")

    old = world.settings(world.a(world.out), world.b)
    first = world.a(world.out, stage("sink", "more", lambda _context: Noted([])))
    world.file = world.settings(first, world.b_with(stage("sink", "new", broken)))

    async def test(reloader: Reloader) -> None:
        assert await reloader.reload(old) is old
        assert Noted.open == 0
        world.runs_by(old)

    await world.run(old, test)


def slow_to_change(world: World) -> tuple[PipelineSpec, PipelineSpec]:
    """Two versions of a, of which the second takes ten seconds to take over."""

    class LeavesSlowly(MemorySource):
        async def __aexit__(self, *_exc: object) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(10)

    topic: MemoryTopic = world.topic
    leaves = stage("source", "in", lambda context: LeavesSlowly(topic, context, endless=True))
    return pipeline(leaves, world.out, name="a"), world.a(world.out)


async def test_a_pipeline_that_fails_between_the_phases_goes_by_what_it_is_said_to(
    world: World,
) -> None:
    a_old, a_new = slow_to_change(world)
    old = world.settings(a_old, world.b)
    world.file = world.settings(a_new, world.b_with(sink([], "more")))

    async def fail() -> None:
        await anyio.sleep(5)
        world.supervisors["b"]._life.fail(Fatal("over"))

    async def test(reloader: Reloader) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            settings = await reloader.reload(old)
        await anyio.sleep(60)
        assert settings.pipelines[0] is a_new
        world.runs_by(settings)

    await world.run(old, test)


async def test_a_pipeline_that_starts_between_the_phases_goes_by_what_it_is_said_to(
    world: World,
) -> None:
    away = True

    class OpensLater(MemorySink):
        async def __aenter__(self) -> Self:
            if away:
                raise Retryable("no such host")
            return self

    a_old, a_new = slow_to_change(world)
    b_old = world.b_with(stage("sink", "later", lambda _context: OpensLater([])))
    b_new = pipeline(*b_old.sources, *b_old.sinks, sink([], "more"), name="b")
    old = world.settings(a_old, b_old)
    world.file = world.settings(a_new, b_new)

    async def test(reloader: Reloader) -> None:
        nonlocal away
        async with anyio.create_task_group() as group:

            async def heal() -> None:
                nonlocal away
                await anyio.sleep(2)
                away = False

            group.start_soon(heal)
            settings = await reloader.reload(old)
        await anyio.sleep(60)
        world.runs_by(settings)

    await world.run(old, test)


async def test_a_pipeline_that_is_removed_does_not_run_twice_when_it_comes_back(
    world: World,
) -> None:
    slow = stage("sink", "slow", lambda _context: SlowSink([], 20))
    old = world.settings(world.a(world.out, slow), world.b)
    without = world.settings(world.b)

    async def test(reloader: Reloader) -> None:
        world.file = without
        assert await reloader.reload(old) is without
        world.file = old
        assert await reloader.reload(without) is without
        assert world.started == []
        await anyio.sleep(60)
        assert await reloader.reload(without) is old
        assert world.started == ["a"]

    await world.run(old, test)
    assert numbers(world.rows) == list(range(20))


async def test_nothing_is_started_while_the_daemon_stops(world: World) -> None:
    old = world.settings(world.b)
    world.file = world.settings(world.b, world.a(world.out))

    async def stop() -> None:
        await anyio.sleep(0.5)
        world.stopping = True

    async def test(reloader: Reloader) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(stop)
            assert await reloader.reload(old) is old
        assert world.started == []

    await world.run(old, test)


async def test_an_observer_that_fails_hurts_no_reload(world: World) -> None:
    def fail(**_told: Any) -> None:
        raise ValueError("a bug of a plugin")

    world.hook = fail
    old = world.settings(world.b)
    world.file = world.settings(world.b, world.a(world.out))

    async def test(reloader: Reloader) -> None:
        assert await reloader.reload(old) is world.file
        await anyio.sleep(5)
        world.runs_by(world.file)

    await world.run(old, test)
