"""Another version of a running pipeline: what stays, what is lost (nothing), what is refused."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import anyio
import msgspec
import pytest

from streamd.api import Batch, FunctionStep, Retryable, StageConfig, doc
from streamd.engine.phase import ReloadRefusedError
from streamd.engine.pipeline import Pipeline
from streamd.settings.model import PipelineOptions, PipelineSpec, StageSpec
from streamd.testing.harness import pipeline, reload, stage, surroundings
from streamd.testing.memory import MemorySink, MemorySource, MemoryStore, MemoryTopic


class World:
    """A topic that grows, and a pipeline over it."""

    def __init__(self, tmp_path: Path, partitions: int = 2) -> None:
        self.topic = MemoryTopic(partitions)
        self.store = MemoryStore()
        self.sources: list[MemorySource] = []
        self.added = 0
        self.tmp_path = tmp_path
        self.source = stage("source", "in", self._make_source)

    def _make_source(self, context: Any) -> MemorySource:
        self.sources.append(MemorySource(self.topic, context, endless=True))
        return self.sources[-1]

    def feed(self, events: int) -> None:
        for _ in range(events):
            event = {"id": f"e{self.added}", "n": self.added}
            partition = self.added % len(self.topic.records)
            self.topic.add(msgspec.json.encode(event), partition)
            self.added += 1

    def spec(self, *stages: StageSpec, **options: Any) -> PipelineSpec:
        return pipeline(self.source, *stages, **options)

    async def run(self, spec: PipelineSpec, test: Callable[[Pipeline], Awaitable[None]]) -> None:
        life = Pipeline(spec, surroundings(self.store, state_dir=self.tmp_path))
        async with anyio.create_task_group() as group:
            group.start_soon(life.run)
            await anyio.sleep(1)
            await test(life)
            life.stop()
        assert {p: c.position for p, c in self.topic.committed.items()} == {
            p: len(records) for p, records in self.topic.records.items()
        }


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def sink(rows: list[Any], name: str = "out", **options: Any) -> StageSpec:
    return stage("sink", name, lambda _context: MemorySink(rows, **options))


def mark(text: str) -> StageSpec:
    step = FunctionStep(lambda event: {**event, "by": text})
    return stage("transform", "mark", lambda _context: step)


def numbers(rows: list[Any]) -> list[int]:
    return sorted(row["n"] for row in rows)


async def test_a_step_is_replaced_and_the_source_does_not_notice(world: World) -> None:
    rows: list[Any] = []
    out = sink(rows)
    world.feed(100)

    async def test(life: Pipeline) -> None:
        await reload(life, world.spec(mark("new"), out))
        world.feed(100)
        await anyio.sleep(2)

    await world.run(world.spec(mark("old"), out), test)
    assert numbers(rows) == list(range(200))
    assert Counter(row["by"] for row in rows) == {"old": 100, "new": 100}
    assert len(world.sources) == 1


async def test_a_dead_sink_is_replaced_while_its_queue_is_full(world: World) -> None:
    def down(_batch: Batch) -> None:
        raise Retryable("down")

    rows: list[Any] = []
    other: list[Any] = []
    beside = sink(other, "beside")
    world.feed(5000)
    options = PipelineOptions(max_events=1500)

    async def test(life: Pipeline) -> None:
        await anyio.sleep(20)
        assert world.topic.committed == {}
        await reload(life, world.spec(sink(rows), beside, options=options))
        await anyio.sleep(20)

    await world.run(world.spec(sink([], fail=down), beside, options=options), test)
    assert numbers(rows) == list(range(5000))
    assert numbers(other) == list(range(5000)), "the sink beside it gets nothing twice"


async def test_what_does_not_open_leaves_the_old_in_place(world: World) -> None:
    class Broken(MemorySink):
        async def __aenter__(self) -> Self:
            raise Retryable("no such host")

    rows: list[Any] = []
    opened: list[str] = []

    class Noted(FunctionStep):
        async def __aenter__(self) -> Self:
            opened.append("open")
            return self

        async def __aexit__(self, *exc_info: object) -> None:
            opened.append("closed")

    out = sink(rows)
    noted = stage("transform", "noted", lambda _context: Noted(lambda event: event))
    broken = stage("sink", "broken", lambda _context: Broken([]))

    async def test(life: Pipeline) -> None:
        with pytest.raises(ReloadRefusedError, match="no such host"):
            await reload(life, world.spec(noted, out, broken))
        world.feed(50)
        await anyio.sleep(2)

    world.feed(50)
    await world.run(world.spec(out), test)
    assert numbers(rows) == list(range(100))
    assert opened.count("open") == opened.count("closed")


async def test_a_source_is_replaced_and_an_old_one_comes_back_if_the_new_fails(
    world: World,
) -> None:
    rows: list[Any] = []
    out = sink(rows)
    world.feed(30)

    class Broken(MemorySource):
        async def __aenter__(self) -> Self:
            raise Retryable("no broker")

    def broken(context: Any) -> MemorySource:
        return Broken(world.topic, context)

    async def test(life: Pipeline) -> None:
        with pytest.raises(ReloadRefusedError, match="no broker"):
            await reload(life, pipeline(stage("source", "in", broken), out))
        world.feed(30)
        await anyio.sleep(2)
        assert len(rows) == 60
        again = stage("source", "in", world._make_source)
        await reload(life, pipeline(again, out))
        world.feed(30)
        await anyio.sleep(2)

    await world.run(world.spec(out), test)
    assert numbers(rows) == list(range(90))
    assert len(world.sources) == 3, "the first, itself once more, and the one that replaced it"


async def test_a_removed_sink_drains_and_an_added_one_begins(world: World) -> None:
    first: list[Any] = []
    second: list[Any] = []
    slow = stage("sink", "first", lambda _context: Slow(first))

    class Slow(MemorySink):
        async def write(self, batch: Batch) -> None:
            await anyio.sleep(5)
            await super().write(batch)

    async def test(life: Pipeline) -> None:
        world.feed(100)
        await anyio.sleep(0.5)
        await reload(life, world.spec(sink(second, "second")))
        world.feed(100)
        await anyio.sleep(20)
        assert not life.draining

    await world.run(world.spec(slow), test)
    assert numbers(first) == list(range(100))
    assert numbers(second) == list(range(100, 200))


class Counting:
    """Numbers the events of each partition; what it has counted is its state."""

    class Config(StageConfig, frozen=True):
        start: Annotated[int, doc("First number.")] = 0
        label: Annotated[str, doc("Does not matter to the state.")] = ""

        def state_key(self) -> str:
            return str(self.start)

    def __init__(self, config: Config) -> None:
        self._config = config
        self._counts: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        return None

    def process(self, batch: Batch) -> Iterable[Batch]:
        (span,) = batch.spans
        count = self._counts.get(span.partition, self._config.start)
        values = [
            {**value, "count": count + row, "label": self._config.label}
            for row, value in enumerate(batch.values)
        ]
        self._counts[span.partition] = count + len(batch)
        return [batch.replace(values)]

    def assign(self, partitions: Collection[str], rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        for partition, _, value in rows:
            self._counts[partition] = int(value)

    def revoke(self, partitions: Collection[str]) -> None:
        for partition in partitions:
            self._counts.pop(partition, None)

    def take_changes(self) -> Sequence[tuple[str, bytes, bytes | None]]:
        return [(p, b"", str(count).encode()) for p, count in self._counts.items()]


def counting(**settings: Any) -> StageSpec:
    config = Counting.Config(**settings)
    return stage("window", "count", lambda _context: Counting(config), config=config)


def with_output(step: StageSpec) -> StageSpec:
    return msgspec.structs.replace(step, output=None)


async def test_state_goes_over_to_a_step_that_means_the_same(world: World) -> None:
    rows: list[Any] = []
    out = sink(rows)
    world.feed(100)

    async def test(life: Pipeline) -> None:
        await reload(life, world.spec(with_output(counting(label="new")), out))
        world.feed(100)
        await anyio.sleep(2)

    await world.run(world.spec(with_output(counting(label="old")), out), test)
    assert Counter(row["label"] for row in rows) == {"old": 100, "new": 100}
    counts = sorted(row["count"] for row in rows)
    assert counts == sorted(list(range(100)) * 2), "each partition counts on"


async def test_state_that_would_be_lost_refuses_the_reload(world: World) -> None:
    rows: list[Any] = []
    out = sink(rows)
    world.feed(20)

    async def test(life: Pipeline) -> None:
        changed = with_output(counting(start=1000))
        with pytest.raises(ReloadRefusedError, match="reset_state"):
            await reload(life, world.spec(changed, out))
        anew = msgspec.structs.replace(changed, reset_state=True)
        await reload(life, world.spec(anew, out))
        world.feed(20)
        await anyio.sleep(2)

    await world.run(world.spec(with_output(counting()), out), test)
    counts = sorted(row["count"] for row in rows)
    assert counts == sorted([*range(10), *range(10), *range(1000, 1010), *range(1000, 1010)])


async def test_two_hundred_reloads_under_load(world: World) -> None:
    rows: list[Any] = []
    beside: list[Any] = []
    outs = [sink(rows), sink(rows)]
    other = sink(beside, "beside")
    marks = [mark("a"), mark("b")]
    stalls: list[float] = []

    async def test(life: Pipeline) -> None:
        for turn in range(200):
            world.feed(50)
            stages = [marks[turn % 2], counting_plain, outs[(turn // 2) % 2], other]
            stalls.append(await reload(life, world.spec(*stages)))
            await anyio.sleep(0.01)
        await anyio.sleep(5)

    counting_plain = with_output(counting())
    await world.run(world.spec(marks[1], counting_plain, outs[1], other), test)
    stored = Counter(row["n"] for row in rows)
    assert set(stored) == set(range(world.added))
    assert numbers(beside) == list(range(world.added)), "an unchanged sink gets nothing twice"
    assert len(world.sources) == 1
    assert max(stalls) < 1
