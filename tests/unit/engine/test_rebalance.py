"""Partitions move while the pipeline runs and dies: nothing is lost, and state stays exact.

A group gives partitions to its members and takes them away, in good order or without a word, and
takes commits only from who owns the partition. Each member has a checkpoint store of its own, as
each process has.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from streamd.api import Batch, BatchLimits, Failure, Retry, Retryable, StageContext, Verdict
from streamd.engine.ledger import Ledger
from streamd.engine.pipeline import Pipeline
from streamd.engine.store import Positions
from streamd.settings.model import PipelineOptions
from streamd.testing.crash import run_for
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemorySink, MemoryStore, MemoryTopic
from tests.unit.engine.group import WINDOW, Group, Member, SumWindow, WatchedStore

PARTITIONS, EVENTS = 4, 160


class KeepTrying:
    def decide(self, _failure: Failure) -> Verdict | None:
        return Retry(0.1)


class World:
    """The broker, the sinks' stores, and the checkpoint store of each process."""

    def __init__(self, seed: int, members: int, *, moves: Callable[[random.Random], str]) -> None:
        self.random = random.Random(seed)
        self.moves = moves
        self.topic = MemoryTopic(PARTITIONS)
        for number in range(EVENTS):
            self.topic.add(msgspec.json.encode({"n": number}), number % PARTITIONS)
        self.stores = [WatchedStore(f"store{number}", self.lag) for number in range(members)]
        self.rows: list[Any] = []
        self.windows: list[Any] = []
        self.faults: list[str] = []
        self.lives = 0

    def flaky(self, _batch: Batch) -> None:
        if self.random.random() < 0.2:
            raise Retryable("a passing fault")

    def lag(self) -> float:
        return self.random.choice([0.0, 0.01, 0.3])

    async def live(self) -> None:
        """All processes at once, until everything is committed."""
        self.lives += 1
        group = Group(self.topic, self.lag)
        members: list[Member] = []
        lives = [self._pipeline(store, group, members) for store in self.stores]
        async with anyio.create_task_group() as processes:
            for life in lives:
                processes.start_soon(life.run)
            await anyio.sleep(0.01)
            for partition in self.topic.records:
                group.give(partition, self.random.choice(members))
            while not group.done(self.stores):
                await anyio.sleep(self.random.random())
                await self._move(group, members, processes)
            for life in lives:
                life.stop()
        self.faults += [fault for member in members for fault in member.faults]
        self.faults += [fault for store in self.stores for fault in store.faults]

    async def _move(self, group: Group, members: list[Member], processes: Any) -> None:
        partition = self.random.choice(list(self.topic.records))
        before, after = group.owner[partition], self.random.choice(members)
        assert before is not None
        if self.moves(self.random) == "revoke":
            await before.revoke(partition)
            group.give(partition, after)
        elif before is not after:
            group.give(partition, after)
            processes.start_soon(self._learn, before, partition)

    async def _learn(self, member: Member, partition: str) -> None:
        """A member that was cut off hears late that its partition is another's."""
        await anyio.sleep(self.random.random())
        if member.group.owner[partition] is not member:
            await member.lose(partition)

    def _pipeline(self, store: WatchedStore, group: Group, members: list[Member]) -> Pipeline:
        def make(context: StageContext) -> Member:
            members.append(Member(group, context))
            store.member = members[-1]
            return members[-1]

        spec = pipeline(
            stage("source", "in", make),
            stage("window", "w", SumWindow),
            self._sink("out", self.rows, ("main",)),
            self._sink("windows", self.windows, ("w",)),
            policies=[KeepTrying()],
            options=PipelineOptions(
                batch_events=3,
                epoch_events=12,
                max_events=60,
                revoke_timeout=self.random.choice([0.0, 0.1, 20.0]),  # type: ignore[arg-type]
                on_missing_state="reset",
            ),
        )
        return Pipeline(spec, surroundings(store, state_dir=Path("unused")))

    def _sink(self, name: str, rows: list[Any], inputs: tuple[str, ...]) -> Any:
        return stage(
            "sink",
            name,
            lambda _context: MemorySink(rows, fail=self.flaky, torn=True),
            inputs=inputs,
            batch=BatchLimits(rows=16, time=0.05),
        )


def in_order(_random: random.Random) -> str:
    return "revoke"


def any_way(chance: random.Random) -> str:
    return chance.choice(["revoke", "lose"])


def run_through(world: World, seed: int) -> None:
    """Kill all processes and start them again until a life ends by itself."""
    kills = random.Random(seed)
    while run_for(kills.randrange(100, 4000), world.live) is None:
        assert world.lives < 300, "no life gets far enough: progress is lost"
    lost = set(range(EVENTS)) - {row["n"] for row in world.rows}
    assert not lost, f"lost {sorted(lost)}"
    assert not world.faults, world.faults


def inexact_windows(world: World) -> dict[str, Any]:
    """Windows that differ from those of a run that nothing disturbs."""
    found: dict[str, set[int]] = {}
    for row in world.windows:
        found.setdefault(row["window"], set()).add(row["total"])
    exact = {
        f"events:{partition}/{last - 1}": {
            sum(number * PARTITIONS + partition for number in range(last - WINDOW, last))
        }
        for partition in range(PARTITIONS)
        for last in range(WINDOW, EVENTS // PARTITIONS + 1, WINDOW)
    }
    names = found.keys() | exact.keys()
    return {n: found.get(n) for n in names if found.get(n) != exact.get(n)}


def comes_back(seed: int) -> None:
    """One process gives partitions up and gets them back."""
    world = World(seed, 1, moves=in_order)
    run_through(world, seed)
    wrong = inexact_windows(world)
    assert not wrong, f"windows are not exact: {wrong}"


def moves_about(seed: int) -> None:
    """Two processes that know nothing of each other's checkpoints."""
    run_through(World(seed, 2, moves=any_way), seed)


@pytest.mark.parametrize("seed", range(40))
def test_a_partition_that_comes_back_brings_its_state(seed: int) -> None:
    comes_back(seed)


@pytest.mark.parametrize("seed", range(40))
def test_two_processes_lose_nothing_however_partitions_move(seed: int) -> None:
    moves_about(seed)


def forget_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: epochs go on to commit a partition that has moved away."""
    monkeypatch.setattr(Ledger, "forget", lambda *_: None)


def resume_at_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: state comes from the checkpoint, the position from the group's last commit."""

    async def nothing(_self: MemoryStore, _pipeline: str, _partitions: object) -> Positions:
        return {}

    monkeypatch.setattr(MemoryStore, "positions", nothing)


@pytest.mark.parametrize(
    ("sabotage", "play", "finding"),
    [
        (forget_nothing, moves_about, "taken away"),
        (resume_at_the_broker, comes_back, "not exact"),
    ],
)
def test_a_broken_engine_is_found_out(
    sabotage: Callable[[pytest.MonkeyPatch], None],
    play: Callable[[int], None],
    finding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def play_many() -> None:
        for seed in range(60):
            play(seed)

    sabotage(monkeypatch)
    with pytest.raises(AssertionError, match=finding):
        play_many()
