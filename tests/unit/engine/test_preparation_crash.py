"""A kill at any await of a pipeline whose codecs have to ask somebody else loses nothing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from streamd.api import (
    DEAD_LETTERS,
    Batch,
    BatchLimits,
    Retryable,
    StageContext,
)
from streamd.engine.pipeline import Pipeline
from streamd.engine.source_runner import SourceRunner
from streamd.settings.model import PipelineOptions
from streamd.testing.crash import run_for
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemorySink, MemoryStore
from tests.unit.engine.asking import AskingJson, Elsewhere, TryAgain, asking_source
from tests.unit.engine.doubles import sink, topic_of

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
