"""Codecs that have to ask somebody else: what they hold back, and that nothing is lost by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from streamd.api import (
    DEAD_LETTERS,
    Batch,
    Duration,
    Misconfigured,
    Reject,
    Rejected,
    Retryable,
    StageContext,
)
from streamd.engine.pipeline import Pipeline
from streamd.engine.status import status_of
from streamd.settings.model import PipelineOptions, PipelineSpec, StageSpec
from streamd.telemetry.metrics import Telemetry
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemorySource, MemoryStore, MemoryTopic
from tests.unit.engine.asking import AskingJson, Elsewhere, TryAgain, asking_source, waits_of
from tests.unit.engine.doubles import life_of, numbers, running, sink, source, topic_of


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
        (Retryable("busy", after=0.0), [1] * 60),
        (Retryable("busy", after=1e10), [3600]),
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


@pytest.mark.parametrize("after", [0.005, 0.5, 20.0], ids=["asking", "waiting", "later"])
async def test_a_second_signal_while_the_codec_is_asked_loses_nothing(
    after: float, tmp_path: Path
) -> None:
    elsewhere, rows, dead = Elsewhere(), [], []  # type: ignore[var-annotated]
    elsewhere.away_until(1000)
    topic, store = topic_of(30), MemoryStore()
    spec = spec_of(asking_source(topic, lambda _: AskingJson(elsewhere)), rows, dead)
    async with anyio.create_task_group() as group:
        group.start_soon(life_of(spec, tmp_path, store).run)
        while not elsewhere.asked:  # noqa: ASYNC110
            await anyio.sleep(0.001)
        await anyio.sleep(after)
        group.cancel_scope.cancel()
    assert (rows, topic.committed) == ([], {})
    elsewhere.away_until(0)
    await life_of(spec, tmp_path, store).run()
    assert (numbers(rows), dead) == (list(range(30)), [])


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


async def test_rejected_is_no_answer_of_a_codec_that_prepares(tmp_path: Path) -> None:
    """It would name rows of a batch that was not decoded: decoding says it, to the policies."""
    elsewhere, rows, dead = Elsewhere(), [], []  # type: ignore[var-annotated]
    elsewhere.fault = lambda: Rejected({0: Reject("no", "not here")})
    spec = spec_of(asking_source(topic_of(10), lambda _: AskingJson(elsewhere)), rows, dead)
    await life_of(spec, tmp_path).run()
    assert (len(rows), len(dead)) == (0, 10)
