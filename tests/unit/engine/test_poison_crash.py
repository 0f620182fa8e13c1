"""Events that a step with state fails on, while the process dies at any await.

Nothing is lost, only those events are dead letters, and windows are exact without them. Beside the
engine stand its broken variants; the same test must find each of them out.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from streamd.api import DEAD_LETTERS, DeadLetter, Failure, Retry, Verdict
from streamd.engine import build
from streamd.engine.failure import Resolver
from streamd.engine.intake import Intake
from streamd.engine.ledger import Ledger
from streamd.engine.supervisor import Supervisor
from streamd.engine.suspects import Record, Suspects
from streamd.settings.model import PipelineOptions
from streamd.testing.crash import run_for
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemorySource
from tests.unit.engine.poison import Brittle, totals, windows_without
from tests.unit.engine.test_crash import EVENTS, PARTITIONS, World

LONG_ENOUGH = 600
"""Seconds in which a process comes to its end, whatever it has to search for."""


class Patient:
    """Faults pass, and what fails three times is given up."""

    def decide(self, failure: Failure) -> Verdict | None:
        bug = isinstance(failure.error, ValueError)
        return DeadLetter() if bug and failure.attempt == 3 else Retry(0.1)


class Poisoned(World):
    """A world with some events that the window cannot count."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.bad = set(self.random.sample(range(EVENTS), self.random.randrange(1, 6)))

    async def live(self) -> None:
        spec = pipeline(
            stage("source", "in", lambda context: MemorySource(self.topic, context)),
            stage("window", "w", lambda _context: Brittle(self.bad)),
            self._sink("out", self.rows),
            self._sink("windows", self.windows, inputs=("w",)),
            self._sink("dlq", self.dead, inputs=(DEAD_LETTERS,)),
            policies=[Patient()],
            options=PipelineOptions(batch_events=7, epoch_events=40, max_events=120),
        )
        self.lives += 1
        with anyio.fail_after(LONG_ENOUGH):
            await Supervisor(spec, surroundings(self.store, state_dir=Path("unused"))).run()

    def check(self) -> None:
        """Hold what is stored against the law."""
        lost = set(range(EVENTS)) - {row["n"] for row in self.rows}
        assert not lost, f"lost {sorted(lost)}"
        dead = {doc["original_message"]["n"] for doc in self.dead}
        assert dead == self.bad, f"dead letters {sorted(dead)} for {sorted(self.bad)}"
        exact = windows_without(self.bad, EVENTS, PARTITIONS)
        assert totals(self.windows) == {name: {total} for name, total in exact.items()}, (
            "windows are not exact"
        )
        committed = {p: c.position for p, c in self.topic.committed.items()}
        assert committed == {p: len(records) for p, records in self.topic.records.items()}


def crash_and_check(seed: int) -> None:
    world = Poisoned(seed)
    kills = random.Random(seed)
    while run_for(kills.randrange(200, 12_000), world.live) is None:
        assert world.lives < 200, "no process gets far enough: progress is lost"
    world.check()


def crash_many(seeds: int) -> None:
    for seed in range(seeds):
        crash_and_check(seed)


@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=[pytest.mark.soak] if seed >= 20 else []) for seed in range(60)],
)
def test_a_kill_at_any_await_of_the_search(seed: int) -> None:
    crash_and_check(seed)


def test_a_kill_at_single_awaits_of_a_process() -> None:
    whole = run_for(10**9, Poisoned(3).live)
    assert whole is not None
    for step in range(1, whole, 127):
        world = Poisoned(3)
        assert run_for(step, world.live) is None
        assert run_for(10**9, world.live) is not None
        world.check()


def torn_state_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the event is given up where it failed, and the step goes on as it is."""

    async def broken(self: Resolver, work: Any, error: Exception, epochs: Any) -> Any:
        failure = self._failure(work, error)
        return await self._carry_out(self._judge(failure), failure, work, epochs)

    monkeypatch.setattr(Resolver, "_failed", broken)


def checkpoint_of_the_torn_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the life that fails saves what it has."""
    settled = build._settled

    async def broken(ledger: Ledger, intake: Intake) -> None:
        intake.cut()
        await settled(ledger, intake)

    monkeypatch.setattr(build, "_settled", broken)


def the_neighbour_is_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the event behind the one to blame is set aside as well."""
    set_aside = Suspects.set_aside

    def broken(self: Suspects, suspect: Any, epoch: int) -> Record | None:
        partition, offset = suspect.what
        before = suspect._replace(what=(partition, offset - 1))
        return set_aside(self, suspect, epoch) or set_aside(self, before, epoch)

    monkeypatch.setattr(Suspects, "set_aside", broken)


@pytest.mark.parametrize(
    ("sabotage", "finding"),
    [
        (torn_state_goes_on, "windows|dead letters"),
        (checkpoint_of_the_torn_epoch, "windows"),
        (the_neighbour_is_taken_for_it, "dead letters"),
    ],
)
def test_a_broken_engine_is_found_out(
    sabotage: Callable[[pytest.MonkeyPatch], None],
    finding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sabotage(monkeypatch)
    with pytest.raises(AssertionError, match=finding):
        crash_many(30)
