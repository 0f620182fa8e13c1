"""Codecs that have to ask somebody else: what they hold back, and that nothing is lost by it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from streamd.api import (
    DEAD_LETTERS,
    Batch,
    BatchLimits,
    DeadLetter,
    Duration,
    Failure,
    Misconfigured,
    Reject,
    Rejected,
    Retry,
    Retryable,
    StageContext,
    Verdict,
)
from streamd.engine.pipeline import Pipeline
from streamd.engine.source_runner import SourceRunner
from streamd.engine.status import status_of
from streamd.settings.model import PipelineOptions, PipelineSpec, StageSpec
from streamd.telemetry.metrics import Telemetry
from streamd.testing.codecs import PlainJson
from streamd.testing.crash import run_for
from streamd.testing.harness import pipeline, reload, stage, surroundings
from streamd.testing.memory import MemorySink, MemorySource, MemoryStore, MemoryTopic
from tests.unit.engine.doubles import life_of, numbers, running, sink, source, topic_of


class Elsewhere:
    """What the codecs of a test ask: `fault` is raised as long as there is one."""

    def __init__(self) -> None:
        self.fault: Callable[[], Exception | None] = lambda: None
        self.asked: list[float] = []

    async def ask(self) -> None:
        self.asked.append(anyio.current_time())
        await anyio.sleep(0.01)
        if (error := self.fault()) is not None:
            raise error

    def away_until(self, time: float, error: Exception | None = None) -> None:
        away = error or Retryable("the registry is away")
        self.fault = lambda: away if anyio.current_time() < time else None


class AskingJson(PlainJson):
    """JSON whose records cannot be told before the tens of their numbers were asked for."""

    prepares = True

    def __init__(self, elsewhere: Elsewhere, unknown: Sequence[int] = ()) -> None:
        self._elsewhere = elsewhere
        self._unknown = unknown
        self._tens: set[int] = set()
        self._writes = False

    async def prepare_to_decode(self, raws: Sequence[bytes | None]) -> None:
        new = {ten_of(raw) for raw in raws if raw is not None} - self._tens
        if new:
            await self._elsewhere.ask()
            self._tens |= new

    async def prepare_to_encode(self, values: Sequence[Any]) -> None:
        assert values
        if not self._writes:
            await self._elsewhere.ask()
            self._writes = True

    def decode(self, raws: Sequence[bytes | None]) -> tuple[list[Any], dict[int, Reject]]:
        values, rejects = super().decode(raws)
        for row, raw in enumerate(raws):
            assert raw is not None
            if ten_of(raw) not in self._tens:
                raise Retryable("nobody has prepared it")
            if ten_of(raw) in self._unknown:
                values[row], rejects[row] = None, Reject("unknown_schema", "there is none")
        return values, rejects


def ten_of(raw: bytes) -> int:
    number: int = msgspec.json.decode(raw)["n"]
    return number // 10


def waits_of(elsewhere: Elsewhere) -> list[int]:
    """Whole seconds between two questions."""
    return [round(after - before) for before, after in pairwise(elsewhere.asked)]


class TryAgain:
    """Gives up soon: whatever is asked of it more than once becomes a dead letter."""

    def decide(self, failure: Failure) -> Verdict | None:
        return Retry(0.1) if failure.attempt < 2 else DeadLetter()


def asking_source(
    topic: MemoryTopic, codec: Callable[[StageContext], Any], name: str = "in", **options: Any
) -> StageSpec:
    def make(context: StageContext) -> MemorySource:
        return MemorySource(topic, context, **options)

    return stage("source", name, make, codec=codec)


def spec_of(
    source_spec: StageSpec, rows: list[Any], dead: list[Any], *more: StageSpec
) -> PipelineSpec:
    return pipeline(
        source_spec,
        *more,
        sink(rows),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[TryAgain()],
        options=PipelineOptions(batch_events=10),
    )


async def test_a_registry_that_is_away_holds_the_source_back(tmp_path: Path) -> None:
    elsewhere, rows, dead = Elsewhere(), [], []  # type: ignore[var-annotated]
    elsewhere.away_until(100)
    spec = spec_of(asking_source(topic_of(30), lambda _: AskingJson(elsewhere)), rows, dead)
    await life_of(spec, tmp_path).run()
    assert numbers(rows) == list(range(30))
    assert dead == [], "no policy is asked: the events are good"
    assert waits_of(elsewhere) == [1, 2, 4, 8, 16, 30, 30, 30, 0, 0], (
        "ever longer; and once it is back, at once"
    )


async def test_what_the_other_side_does_not_have_goes_to_the_policies(tmp_path: Path) -> None:
    rows: list[Any] = []
    dead: list[Any] = []
    codec = AskingJson(Elsewhere(), unknown=[1])
    await life_of(spec_of(asking_source(topic_of(30), lambda _: codec), rows, dead), tmp_path).run()
    assert numbers(rows) == [*range(10), *range(20, 30)]
    assert {letter["reason"] for letter in dead} == {"unknown_schema"}
    assert numbers(letter["original_message"] for letter in dead) == list(range(10, 20))


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (Misconfigured("401"), [30, 30]),
        (Retryable("busy", after=7.0), [7] * 9),
    ],
)
async def test_it_waits_for_as_long_as_the_error_says(
    tmp_path: Path, error: Exception, waits: list[int]
) -> None:
    elsewhere, rows, dead = Elsewhere(), [], []  # type: ignore[var-annotated]
    elsewhere.away_until(60, error)
    spec = spec_of(asking_source(topic_of(10), lambda _: AskingJson(elsewhere)), rows, dead)
    await life_of(spec, tmp_path).run()
    assert waits_of(elsewhere) == waits
    assert (len(rows), dead) == (10, [])


async def test_the_problem_can_be_seen_until_it_is_gone(tmp_path: Path) -> None:
    elsewhere, rows, telemetry = Elsewhere(), [], Telemetry()  # type: ignore[var-annotated]
    elsewhere.away_until(100)
    spec = spec_of(
        asking_source(topic_of(10), lambda _: AskingJson(elsewhere), endless=True), rows, []
    )
    life = Pipeline(spec, surroundings(MemoryStore(), state_dir=tmp_path, telemetry=telemetry))
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(50)
        status = status_of(life, 0)
        assert status.stages["in"].problem == "the registry is away"
        assert not status.ready
        assert status.problems == ["in: the registry is away"]
        retries = 'streamd_retries_total{pipeline="test",stage="in"} 60.0'
        assert retries in telemetry.exposition()[0].decode(), "ten events, six times"
        await anyio.sleep(100)
        assert status_of(life, 0).ready
        assert len(rows) == 10
        life.stop()


async def test_a_held_source_stays_alive_and_the_others_go_on(tmp_path: Path) -> None:
    elsewhere, rows, dead = Elsewhere(), [], []  # type: ignore[var-annotated]
    elsewhere.away_until(100)
    held: list[MemorySource] = []

    def make(context: StageContext) -> MemorySource:
        held.append(MemorySource(topic_of(10), context, endless=True))
        return held[-1]

    other = MemoryTopic(1, "other")
    for number in range(100, 130):
        other.add(msgspec.json.encode({"n": number}))
    spec = spec_of(
        stage("source", "in", make, codec=lambda _: AskingJson(elsewhere)),
        rows,
        dead,
        source(other, "free", endless=True),
    )
    async with running(spec, tmp_path):
        await anyio.sleep(90)
        assert numbers(rows) == list(range(100, 130))
        assert other.committed["other:0"].position == 30
        assert held[0].keepalives >= 80
        assert held[0].polls == 1
        await anyio.sleep(90)
        assert numbers(rows) == [*range(10), *range(100, 130)]


class Idle:
    """A step that is told the time, and passes everything on."""

    def __init__(self, _context: StageContext) -> None:
        self.times: list[float] = []

    async def __aenter__(self) -> Idle:
        return self

    async def __aexit__(self, *_exc: object) -> None: ...

    def process(self, batch: Batch) -> list[Batch]:
        return [batch]

    def tick(self, active: float) -> list[Batch]:
        self.times.append(active)
        return []


async def test_no_step_is_idle_while_a_source_is_held_back(tmp_path: Path) -> None:
    """Else a window would go on without the events that are held, which then come too late."""
    elsewhere = Elsewhere()
    elsewhere.away_until(100)
    steps: list[Idle] = []

    def make(context: StageContext) -> Idle:
        steps.append(Idle(context))
        return steps[-1]

    spec = spec_of(
        asking_source(topic_of(10), lambda _: AskingJson(elsewhere), endless=True),
        [],
        [],
        source(MemoryTopic(1, "other"), "free", endless=True),
        stage("transform", "idle", make),
    )
    async with running(spec, tmp_path):
        await anyio.sleep(90)
        assert steps[0].times[-1] < 1
        await anyio.sleep(100)
        assert 50 < steps[0].times[-1] < 91, "it goes on with the source"


async def test_a_held_source_that_can_be_read_again_stops_at_once(tmp_path: Path) -> None:
    elsewhere, rows, dead = Elsewhere(), [], []  # type: ignore[var-annotated]
    elsewhere.away_until(1000)
    topic, store = topic_of(10), MemoryStore()
    spec = spec_of(asking_source(topic, lambda _: AskingJson(elsewhere)), rows, dead)
    life = life_of(spec, tmp_path, store)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(50)
        life.stop()
        with anyio.fail_after(2):
            while life.state != "stopped":  # noqa: ASYNC110
                await anyio.sleep(0.1)
    assert (rows, dead, topic.committed) == ([], [], {}), "nothing has moved"
    elsewhere.away_until(0)
    await life_of(spec, tmp_path, store).run()
    assert numbers(rows) == list(range(10))


async def test_what_cannot_be_read_again_has_the_time_of_a_drain(tmp_path: Path) -> None:
    elsewhere, rows = Elsewhere(), []  # type: ignore[var-annotated]
    elsewhere.away_until(100)

    def make(context: StageContext) -> MemorySource:
        made = MemorySource(topic_of(10), context, endless=True)
        made.resumes = False
        return made

    spec = spec_of(stage("source", "in", make, codec=lambda _: AskingJson(elsewhere)), rows, [])
    spec = msgspec.structs.replace(spec, options=PipelineOptions(drain_timeout=Duration("100s")))
    life = life_of(spec, tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(50)
        life.stop()
    assert numbers(rows) == list(range(10))


async def test_events_of_a_partition_that_moves_away_meanwhile_are_left_alone(
    tmp_path: Path,
) -> None:
    elsewhere, rows = Elsewhere(), []  # type: ignore[var-annotated]
    elsewhere.away_until(100)
    contexts: list[StageContext] = []

    def make(context: StageContext) -> MemorySource:
        contexts.append(context)
        return MemorySource(topic_of(20, 2), context, endless=True)

    spec = spec_of(stage("source", "in", make, codec=lambda _: AskingJson(elsewhere)), rows, [])
    async with running(spec, tmp_path):
        await anyio.sleep(50)
        control = contexts[0].control
        assert control is not None
        await control.revoking(["events:1"])
        await anyio.sleep(100)
    assert numbers(rows) == list(range(0, 20, 2))


async def test_a_bug_in_a_codec_is_for_the_policies(tmp_path: Path) -> None:
    """One record that it stumbles over must not hold the good ones back for ever."""
    elsewhere, rows, dead = Elsewhere(), [], []  # type: ignore[var-annotated]
    elsewhere.fault = lambda: ZeroDivisionError("a bug") if len(elsewhere.asked) == 2 else None
    spec = spec_of(asking_source(topic_of(30), lambda _: AskingJson(elsewhere)), rows, dead)
    await life_of(spec, tmp_path).run()
    assert numbers(rows) == [*range(10), *range(20, 30)]
    assert len(dead) == 10


# --- sinks ---------------------------------------------------------------------------------------


def asking_sink(rows: list[Any], elsewhere: Elsewhere, name: str = "out") -> StageSpec:
    made = [AskingJson(elsewhere)]

    def make(context: StageContext) -> MemorySink:
        assert context.codec is made[0], "the codec that is prepared is the one that is lent"
        return MemorySink(rows)

    return stage("sink", name, make, codec=lambda _context: made[0])


async def test_a_sink_is_held_back_until_its_codec_can_write(tmp_path: Path) -> None:
    elsewhere, rows, others, dead = Elsewhere(), [], [], []  # type: ignore[var-annotated]
    elsewhere.away_until(100)
    topic = topic_of(30)
    spec = pipeline(
        source(topic, endless=True),
        asking_sink(rows, elsewhere),
        sink(others, "other"),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[TryAgain()],
    )
    async with running(spec, tmp_path) as life:
        await anyio.sleep(90)
        status = status_of(life, 0)
        assert status.stages["out"].problem == "the registry is away"
        assert status.stages["other"].problem is None
        assert (numbers(others), rows, topic.committed) == (list(range(30)), [], {})
        await anyio.sleep(90)
        assert status_of(life, 0).ready
    assert (numbers(rows), dead) == (list(range(30)), [])
    assert topic.committed["events:0"].position == 30


async def test_a_reload_replaces_a_sink_that_is_held_back(tmp_path: Path) -> None:
    elsewhere, rows = Elsewhere(), []  # type: ignore[var-annotated]
    elsewhere.away_until(10_000)
    held = pipeline(source(topic_of(30), endless=True), asking_sink(rows, elsewhere))
    plain = pipeline(held.sources[0], sink(rows))
    async with running(held, tmp_path) as life:
        await anyio.sleep(90)
        await reload(life, plain)
        await anyio.sleep(5)
    assert numbers(rows) == list(range(30))


async def test_a_stage_that_stays_keeps_its_codec_through_a_reload(tmp_path: Path) -> None:
    elsewhere, rows = Elsewhere(), []  # type: ignore[var-annotated]
    made: list[AskingJson] = []

    def codec(_context: StageContext) -> AskingJson:
        made.append(AskingJson(elsewhere))
        return made[-1]

    topic = topic_of(10)
    before = pipeline(asking_source(topic, codec, endless=True), sink(rows))
    after = pipeline(before.sources[0], *before.sinks, sink([], "more"))
    async with running(before, tmp_path) as life:
        await anyio.sleep(5)
        await reload(life, after)
        topic.add(b'{"n": 5}')
        await anyio.sleep(5)
    assert len(rows) == 11
    assert len(made) == 1
    assert len(elsewhere.asked) == 1, "it still knows what it has learnt"


# --- kills ---------------------------------------------------------------------------------------

EVENTS = 120


class World:
    """What a crash does not touch. Both codecs ask somebody who is often away."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.topic = topic_of(EVENTS, 2)
        self.store = MemoryStore()
        self.rows: list[Any] = []
        self.dead: list[Any] = []
        self.lives = 0
        self.elsewhere = Elsewhere()
        self.elsewhere.fault = self.flaky

    def flaky(self) -> Exception | None:
        return Retryable("a passing fault") if self.random.random() < 0.5 else None

    async def live(self) -> None:
        def make(_context: StageContext) -> MemorySink:
            return MemorySink(self.rows, torn=True)

        def codec(_context: StageContext) -> AskingJson:
            return AskingJson(self.elsewhere, unknown=[3])

        spec = pipeline(
            asking_source(self.topic, codec),
            stage("sink", "out", make, codec=codec, batch=BatchLimits(rows=16)),
            sink(self.dead, "dlq", inputs=(DEAD_LETTERS,)),
            policies=[TryAgain()],
            options=PipelineOptions(batch_events=7, epoch_events=20, max_events=60),
        )
        self.lives += 1
        await Pipeline(spec, surroundings(self.store, state_dir=Path("unused"))).run()

    def check(self) -> None:
        stored = Counter(row["n"] for row in self.rows)
        good = {number for number in range(EVENTS) if number // 10 != 3}
        assert set(stored) == good, f"lost {sorted(good - set(stored))}"
        dead = {letter["original_message"]["n"] for letter in self.dead}
        assert dead == set(range(30, 40)), "only what nobody knows is a dead letter"
        committed = {p: c.position for p, c in self.topic.committed.items()}
        assert committed == {p: len(records) for p, records in self.topic.records.items()}


def crash_and_check(seed: int) -> None:
    world, kills = World(seed), random.Random(seed)
    while run_for(kills.randrange(40, 900), world.live) is None:
        assert world.lives < 200, "no life gets far enough: progress is lost"
    world.check()


def crash_many(seeds: int) -> None:
    for seed in range(seeds):
        crash_and_check(seed)


@pytest.mark.parametrize("seed", range(40))
def test_a_kill_at_any_await_loses_nothing(seed: int) -> None:
    crash_and_check(seed)


def test_a_kill_at_each_single_await_of_a_life() -> None:
    whole = run_for(10**9, World(1).live)
    assert whole is not None
    for step in range(1, whole, 5):
        world = World(1)
        assert run_for(step, world.live) is None
        assert run_for(10**9, world.live) is not None
        world.check()


def test_a_codec_that_is_not_waited_for_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: SourceRunner, _asking: Any, _batches: Any) -> bool:
        return True

    monkeypatch.setattr(SourceRunner, "_prepare", broken)
    with pytest.raises(AssertionError, match="lost"):
        crash_and_check(0)


def test_positions_that_run_ahead_of_the_codec_are_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare = SourceRunner._prepare

    async def broken(self: SourceRunner, asking: Any, batches: Sequence[Batch]) -> bool:
        async with self._intake.between_batches():
            moved = self._intake._moved.setdefault(self._name, {})
            moved |= {span.partition: span.stop for batch in batches for span in batch.spans}
        return await prepare(self, asking, batches)

    monkeypatch.setattr(SourceRunner, "_prepare", broken)
    with pytest.raises(AssertionError, match="lost"):
        crash_many(40)


async def test_rejected_is_no_answer_of_a_codec_that_prepares(tmp_path: Path) -> None:
    """It would name rows of a batch that was not decoded: decoding says it, to the policies."""
    elsewhere, rows, dead = Elsewhere(), [], []  # type: ignore[var-annotated]
    elsewhere.fault = lambda: Rejected({0: Reject("no", "not here")})
    spec = spec_of(asking_source(topic_of(10), lambda _: AskingJson(elsewhere)), rows, dead)
    await life_of(spec, tmp_path).run()
    assert (len(rows), len(dead)) == (0, 10)
