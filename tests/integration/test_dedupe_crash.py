"""Dedupe in a pipeline that is killed at seeded awaits, again and again.

Within a partition a replay comes to the very same verdicts: what is stored are exactly the events
of a run that nothing disturbs, some of them twice, as an at-least-once sink allows. Across
partitions no id is lost.
"""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamd.api import BatchLimits, Duration, Failure, Retry, Retryable, StageContext, Verdict
from streamd.engine.pipeline import Pipeline
from streamd.settings.model import PipelineOptions
from streamd.testing.crash import run_for
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemorySink, MemorySource, MemoryStore, MemoryTopic
from streamd_transforms import Dedupe

EVENTS, PARTITIONS = 480, 2
LIFE = 280
"""Steps of all tasks that an undisturbed life has, and more."""
EXPIRING = Dedupe.Config(scope="partition", ttl=Duration("30ms"), max_keys=9)
"""The source's timestamps are a millisecond apart: keys expire, come back, and get too many."""
ENDLESS = Dedupe.Config(scope="pipeline", ttl=Duration("1h"))


class TryAgain:
    def decide(self, failure: Failure) -> Verdict | None:
        return Retry(0.1)


class World:
    """What a crash does not touch: the topic, the checkpoints, the table behind the sink."""

    def __init__(self, seed: int, config: Dedupe.Config, cls: type[Dedupe] = Dedupe) -> None:
        self.random = random.Random(seed)
        self.config, self.cls = config, cls
        self.topic = MemoryTopic(PARTITIONS)
        self.ids: set[str] = set()
        for number in range(EVENTS):
            partition = number % PARTITIONS
            # Mostly one of the last few ids again, in this partition or the other.
            identity = f"e{max(0, number // 3 - self.random.randrange(12))}"
            event = {"id": identity, "at": f"{partition}/{number // PARTITIONS}"}
            self.ids.add(identity)
            self.topic.add(msgspec.json.encode(event), partition)
        self.store = MemoryStore()
        self.rows: list[Any] = []
        self.lives = 0

    async def live(self, *, flaky: bool = True) -> None:
        def fail(_batch: Any) -> None:
            if flaky and self.random.random() < 0.2:
                raise Retryable("a passing fault")

        def sink(_context: StageContext) -> MemorySink:
            return MemorySink(self.rows, fail=fail, torn=True)

        def dedupe(context: StageContext) -> Dedupe:
            return self.cls(self.config, context)

        spec = pipeline(
            stage("source", "in", lambda context: MemorySource(self.topic, context)),
            stage("transform", "dedupe", dedupe, config=self.config),
            stage("sink", "out", sink, batch=BatchLimits(rows=16)),
            policies=[TryAgain()],
            options=PipelineOptions(batch_events=7, epoch_events=40, max_events=120),
        )
        self.lives += 1
        await Pipeline(spec, surroundings(self.store, state_dir=Path("unused"))).run()

    def crash_until_done(self, seed: int) -> None:
        kills = random.Random(seed)
        assert run_for(kills.randrange(LIFE // 2), self.live) is None
        while run_for(kills.randrange(LIFE), self.live) is None:
            assert self.lives < 200, "no life gets far enough: progress is lost"


def undisturbed(seed: int, config: Dedupe.Config) -> list[Any]:
    world = World(seed, config)
    assert run_for(10**9, lambda: world.live(flaky=False)) is not None
    return world.rows


def check_one_partition(seed: int, cls: type[Dedupe] = Dedupe) -> None:
    expected = [row["at"] for row in undisturbed(seed, EXPIRING)]
    assert max(Counter(expected).values()) == 1
    assert 0 < len(expected) < EVENTS
    world = World(seed, EXPIRING, cls)
    world.crash_until_done(seed)
    stored = {row["at"] for row in world.rows}
    assert stored >= set(expected), "an event is lost"
    assert stored <= set(expected), "a duplicate has passed"


@pytest.mark.parametrize("seed", range(30))
def test_within_a_partition_a_replay_comes_to_the_same_verdicts(seed: int) -> None:
    check_one_partition(seed)


@pytest.mark.parametrize("seed", range(30))
def test_across_partitions_no_id_is_lost(seed: int) -> None:
    calm = undisturbed(seed, ENDLESS)
    world = World(seed, ENDLESS)
    assert Counter(row["id"] for row in calm) == dict.fromkeys(world.ids, 1)
    world.crash_until_done(seed)
    passed: dict[str, set[str]] = {}
    for row in world.rows:
        passed.setdefault(row["id"], set()).add(row["at"][0])
    assert passed.keys() == world.ids
    seen = {(row["id"], row["at"]) for row in world.rows}
    # Of one partition always the same event, so at most one for each partition.
    assert len(seen) == sum(map(len, passed.values()))


class Forgetful(Dedupe):
    """Broken: what it has seen is not in the checkpoint."""

    def take_changes(self) -> Sequence[tuple[str, bytes, bytes | None]]:
        return []


class Early(Dedupe):
    """Broken: what it has seen is stored before the positions are."""

    stored: dict[tuple[str, bytes], bytes | None]

    def process(self, batch: Any) -> Any:
        results = super().process(batch)
        self.stored.update({change[:2]: change[2] for change in super().take_changes()})
        return results

    def take_changes(self) -> Sequence[tuple[str, bytes, bytes | None]]:
        return []

    def assign(self, partitions: Collection[str], rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        kept = [(*at, value) for at, value in self.stored.items() if value is not None]
        super().assign(partitions, [row for row in kept if row[0] in partitions])


@pytest.mark.parametrize(
    ("broken", "complaint"), [(Forgetful, "a duplicate has passed"), (Early, "an event is lost")]
)
def test_a_broken_dedupe_is_found_out(broken: type[Dedupe], complaint: str) -> None:
    complaints: set[str] = set()
    for seed in range(12):
        Early.stored = {}
        try:
            check_one_partition(seed, broken)
        except AssertionError as error:
            complaints.add(str(error).partition("\n")[0])
    assert complaint in complaints
