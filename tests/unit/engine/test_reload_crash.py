"""Reloads of every kind while the process dies at any await: nothing is lost, windows are exact.

The file that a life starts from is the one that was written last, whether or not a running daemon
has taken it. Beside the engine stand its broken variants; the same test must find each of them out.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import anyio
import msgspec
import pytest

from streamd.api import (
    DEAD_LETTERS,
    Batch,
    BatchLimits,
    Retryable,
    StageConfig,
    StageContext,
)
from streamd.engine.ledger import Change, Ledger
from streamd.engine.phase import ReloadRefusedError
from streamd.engine.slot import Item, Slot
from streamd.engine.supervisor import Supervisor
from streamd.settings.model import PipelineOptions, PipelineSpec, StageSpec
from streamd.testing.crash import run_for
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemorySink, MemorySource, MemoryStore, MemoryTopic
from tests.unit.engine.test_crash import (
    EVENTS,
    PARTITIONS,
    CountWindow,
    RefuseSome,
    TryAgain,
    exact_windows,
)

LONG_ENOUGH = 150
"""Seconds in which a life comes to its end, whatever happens to it on its way."""

STAGES = ["in", "mark", "w", "out", "windows", "dlq"]


class World:
    """What a crash does not touch: the broker, the stores behind the sinks, and the file."""

    def __init__(self, seed: int, faults: float = 0.15) -> None:
        self.random = random.Random(seed)
        self.faults = faults
        self.topic = MemoryTopic(PARTITIONS)
        for number in range(EVENTS):
            event = msgspec.json.encode({"id": f"e{number}", "n": number})
            self.topic.add(event, number % PARTITIONS)
        self.store = MemoryStore()
        self.rows: dict[str, list[Any]] = {"out": [], "windows": [], "dlq": [], "extra": []}
        self.lives = self.taken = self.refused = 0
        self._stages = {name: self._make(name) for name in [*STAGES, "extra"]}
        self._extra = False
        self.file = self._written()

    async def live(self) -> None:
        self.lives += 1
        around = surroundings(self.store, state_dir=Path("unused"))
        supervisor = Supervisor(self.file, around)
        async with anyio.create_task_group() as group:
            group.start_soon(self._reload_now_and_then, supervisor)
            await supervisor.run()
            group.cancel_scope.cancel()

    async def _reload_now_and_then(self, supervisor: Supervisor) -> None:
        while True:
            await anyio.sleep(self.random.random())
            if supervisor.running.is_set() and anyio.current_time() > LONG_ENOUGH:
                raise AssertionError("the pipeline stands still")
            for name in self.random.sample(STAGES, self.random.randrange(3)):
                self._stages[name] = self._make(name)
            self._extra = self.random.random() < 0.5
            self.file = spec = self._written()
            try:
                change = await supervisor.prepare(spec)
                await self.pause()
                await supervisor.carry_out(change, spec, "")
                self.taken += 1
            except ReloadRefusedError:
                self.refused += 1

    async def pause(self) -> None:
        await anyio.sleep(self.random.choice([0.0, 0.01, 0.3]))

    def fail_sometimes(self, _batch: Batch | None = None) -> None:
        if self.random.random() < self.faults:
            raise Retryable("a passing fault")

    def fail_seldom(self) -> None:
        if self.random.random() < self.faults / 4:
            raise Retryable("a passing fault")

    def _written(self) -> PipelineSpec:
        names = [*STAGES, "extra"] if self._extra else STAGES
        return pipeline(
            *(self._stages[name] for name in names),
            policies=[TryAgain()],
            options=PipelineOptions(batch_events=7, epoch_events=40, max_events=120),
        )

    def _make(self, name: str) -> StageSpec:
        """A stage that differs from all that were there before."""
        match name:
            case "in":
                return stage("source", name, lambda context: Member(self, context))
            case "mark":
                return stage("validate", name, lambda _context: RefuseSome(None))
            case "w":
                config = Labelled(label=str(self.random.random()))
                return stage("window", name, lambda _context: Buggy(self), config=config)
        inputs = {"windows": ("w",), "dlq": (DEAD_LETTERS,)}.get(name, ("main",))
        limits = BatchLimits(rows=self.random.choice([8, 16]))
        return stage("sink", name, lambda _context: Flaky(self, name), inputs=inputs, batch=limits)


class Labelled(StageConfig, frozen=True):
    """Settings that do not matter to the state."""

    label: str = ""

    def state_key(self) -> str:
        return ""


class Buggy(CountWindow):
    """Now and then fails half-way, after which only the checkpoint is to be trusted."""

    def __init__(self, world: World) -> None:
        super().__init__(None)
        self.world = world

    def process(self, batch: Batch) -> Iterable[Batch]:
        yield from super().process(batch)
        if self.world.random.random() < self.world.faults / 10:
            raise RuntimeError("a bug")


class Flaky(MemorySink):
    """Opens, writes and closes now well, now slowly, now not at all."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world.rows[name], fail=world.fail_sometimes, torn=True)
        self.world = world

    async def __aenter__(self) -> Self:
        await self.world.pause()
        self.world.fail_seldom()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        with anyio.CancelScope(shield=True):
            await self.world.pause()
        self.world.fail_sometimes()

    async def write(self, batch: Batch) -> None:
        await self.world.pause()
        await super().write(batch)


class Member(MemorySource):
    """A source that leaves a group when it is closed."""

    def __init__(self, world: World, context: StageContext) -> None:
        super().__init__(world.topic, context)
        self.world = world

    async def __aenter__(self) -> Self:
        await self.world.pause()
        self.world.fail_seldom()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._control.revoking(list(self._positions))

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        await anyio.sleep(0.5)
        return await super().poll(max_events, timeout)

    async def commit(self, positions: Any, tag: str) -> None:
        await self.world.pause()
        self.world.fail_sometimes()
        await super().commit(positions, tag)


def reload_crash_and_check(seed: int, faults: float = 0.15) -> World:
    """Kill and restart until a life ends by itself, then hold what is stored against the law."""
    world = World(seed, faults)
    kills = random.Random(seed)
    while run_for(kills.randrange(100, 1500), world.live) is None:
        assert world.lives < 200, "no life gets far enough: progress is lost"
    check(world)
    return world


def check(world: World) -> None:
    """Nothing is lost, windows are exact, and everything is committed."""
    stored = Counter(row["n"] for row in world.rows["out"])
    expected = {number for number in range(EVENTS) if number % 10 != 7}
    assert set(stored) == expected, f"lost {sorted(expected - set(stored))}"
    dead = {doc["original_message"]["n"] for doc in world.rows["dlq"]}
    refused = set(range(EVENTS)) - expected
    assert dead == refused, f"lost dead letters {sorted(refused - dead)}"
    windows: dict[str, set[int]] = {}
    for row in world.rows["windows"]:
        windows.setdefault(row["window"], set()).add(row["total"])
    exact = {name: {total} for name, total in exact_windows().items()}
    wrong = {n: windows.get(n) for n in exact.keys() | windows if windows.get(n) != exact.get(n)}
    assert not wrong, f"windows are not exact: {wrong}"
    committed = {p: c.position for p, c in world.topic.committed.items()}
    assert committed == {p: len(records) for p, records in world.topic.records.items()}


@pytest.mark.parametrize("seed", range(60))
def test_a_kill_at_any_await_of_a_reload_loses_nothing(seed: int) -> None:
    reload_crash_and_check(seed)


def test_a_kill_at_each_single_await_of_a_life_with_reloads() -> None:
    whole = run_for(10**9, World(1).live)
    assert whole is not None
    for step in range(1, whole, 17):
        world = World(1)
        assert run_for(step, world.live) is None
        assert run_for(10**9, world.live) is not None
        check(world)


def test_most_reloads_of_the_play_are_taken() -> None:
    worlds = [reload_crash_and_check(seed) for seed in range(10)]
    taken, refused = sum(world.taken for world in worlds), sum(world.refused for world in worlds)
    assert taken > refused > 0


def state_without_what_is_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a new step gets the state of the last checkpoint, as if nothing had come since."""

    def nothing(_self: Ledger) -> Iterator[Change]:
        return iter(())

    monkeypatch.setattr(Ledger, "changes", nothing)


def what_was_cut_off_counts_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the write that a replaced sink was at is not begun again."""
    attempt = Slot._attempt

    async def broken(self: Slot, items: list[Item]) -> bool:
        if not await attempt(self, items):
            for item in items:
                self._rows -= len(item.batch)
                for epoch in item.epochs:
                    self._ledger.done(epoch)
            self._progressed()
        return True

    monkeypatch.setattr(Slot, "_attempt", broken)


@pytest.mark.parametrize(
    ("sabotage", "finding"),
    [
        (state_without_what_is_in_flight, "windows"),
        (what_was_cut_off_counts_as_written, "lost"),
    ],
)
def test_a_broken_engine_is_found_out(
    sabotage: Callable[[pytest.MonkeyPatch], None],
    finding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def play_many() -> None:
        for seed in range(60):
            reload_crash_and_check(seed)

    sabotage(monkeypatch)
    with pytest.raises(AssertionError, match=finding):
        play_many()
