"""An event that a step with state fails on costs no other event, and the state stays exact."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest

from streamd.api import (
    DEAD_LETTERS,
    Batch,
    DeadLetter,
    Drop,
    Failure,
    Misconfigured,
    Pause,
    Permanent,
    Policy,
    Reject,
    Rejected,
    Retry,
    Retryable,
    Stop,
    Verdict,
)
from streamd.engine.supervisor import ExitRequested, Supervisor
from streamd.settings.model import PipelineOptions, PipelineSpec
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemoryStore
from tests.unit.engine.doubles import Requests, Verdicts, numbers, sink, source, topic_of
from tests.unit.engine.poison import Brittle, totals, windows_without

EVENTS = 100
BURY = Verdicts({ValueError: DeadLetter(), Rejected: DeadLetter()})


class Thrice:
    """Retries twice, then buries."""

    def decide(self, failure: Failure) -> Verdict | None:
        return Retry(5) if failure.attempt < 3 else DeadLetter()


class Run:
    """A pipeline with a window that cannot count the `bad` events, under a supervisor."""

    def __init__(
        self,
        tmp_path: Path,
        window: Any,
        policy: Policy,
        *,
        options: PipelineOptions | None = None,
        events: int = EVENTS,
    ) -> None:
        self.topic = topic_of(events)
        self.rows: list[Any] = []
        self.windows: list[Any] = []
        self.dead: list[Any] = []
        self.made = 0
        self.window = window
        self.states: list[str] = []
        spec = self.spec(policy, options or PipelineOptions(batch_events=40))
        around = surroundings(MemoryStore(), state_dir=tmp_path)
        self.supervisor = Supervisor(spec, around, lambda state, _: self.states.append(state))

    def spec(self, policy: Policy, options: PipelineOptions) -> PipelineSpec:
        return pipeline(
            source(self.topic),
            stage("window", "w", self._make),
            sink(self.rows),
            sink(self.windows, "windows", inputs=("w",)),
            sink(self.dead, "dlq", inputs=(DEAD_LETTERS,)),
            policies=[policy],
            options=options,
        )

    def _make(self, _context: Any) -> Any:
        self.made += 1
        return self.window() if callable(self.window) else Brittle(self.window)

    async def to_its_end(self, within: float = 600) -> float:
        """Seconds that it took."""
        with anyio.fail_after(within):
            await self.supervisor.run()
        return anyio.current_time()

    @property
    def buried(self) -> list[int]:
        return sorted({doc["original_message"]["n"] for doc in self.dead})

    def is_exact_without(self, bad: Collection[int]) -> bool:
        exact = {name: {total} for name, total in windows_without(bad, EVENTS).items()}
        return totals(self.windows) == exact


@pytest.mark.parametrize("bad", [{42}, {0}, {99}, {40, 41, 79}, set(range(0, 100, 9))])
async def test_only_what_the_step_fails_on_is_set_aside(bad: set[int], tmp_path: Path) -> None:
    run = Run(tmp_path, bad, BURY)
    await run.to_its_end()
    assert run.buried == sorted(bad)
    assert run.is_exact_without(bad)
    assert set(numbers(run.rows)) == set(range(EVENTS)), "what only taps a stream takes nothing"
    assert run.topic.committed["events:0"].position == EVENTS


async def test_the_dead_letter_tells_what_happened_and_where(tmp_path: Path) -> None:
    run = Run(tmp_path, {42}, Thrice())
    await run.to_its_end()
    letter = run.dead[-1]
    assert letter["stage"] == "w"
    assert letter["metadata"] == {"partition": 0, "offset": 42}
    assert letter["error"]["type"] == "ValueError"
    assert letter["error"]["message"] == "cannot count 42"
    assert "in process" in letter["error"]["traceback"]
    assert (letter["reason"], letter["attempts"], letter["retry_count"]) == ("bug", 3, 2)


async def test_retries_are_lives_and_wait_as_the_policy_says(tmp_path: Path) -> None:
    run = Run(tmp_path, {42}, Thrice())
    took = await run.to_its_end()
    assert run.made == 5, "one for the batch, three for the event alone, and one without it"
    assert 1 + 5 + 5 <= took < 13


async def test_an_error_that_passes_costs_no_event(tmp_path: Path) -> None:
    bad = {42, 43}
    run = Run(tmp_path, bad, Thrice())

    async def heal() -> None:
        await anyio.sleep(3)
        bad.clear()

    async with anyio.create_task_group() as group:
        group.start_soon(heal)
        await run.to_its_end()
    assert run.buried == []
    assert run.is_exact_without(())


async def test_drop_drops_the_one_event(tmp_path: Path) -> None:
    run = Run(tmp_path, {42}, Verdicts({ValueError: Drop("bug")}))
    await run.to_its_end()
    assert run.is_exact_without({42})
    assert run.dead == []


async def test_stop_stops_and_commits_nothing_of_it(tmp_path: Path) -> None:
    run = Run(tmp_path, {42}, Verdicts({ValueError: Stop("it is broken")}))
    await run.to_its_end()
    assert run.states[-1] == "failed"
    assert run.supervisor.failure == "w: it is broken"
    committed = run.topic.committed.get("events:0")
    assert committed is None or committed.position <= 42


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(ValueError, Retry(20)), (Retryable, Retry(20)), (Misconfigured, Pause(20))],
)
async def test_block_waits_for_ever_and_goes_on_when_it_works(
    error: type[Exception], verdict: Verdict, tmp_path: Path
) -> None:
    class Down(Brittle):
        def process(self, batch: Batch) -> Iterable[Batch]:
            if anyio.current_time() < 1200:
                raise error("down")
            return super().process(batch)

    run = Run(tmp_path, lambda: Down(()), Verdicts({error: verdict}))
    assert await run.to_its_end(1400) >= 1200
    assert run.made < 70, "no faster than the policy says"
    assert (run.buried, run.is_exact_without(())) == ([], True)


async def test_a_permanent_error_is_the_fault_of_one_event(tmp_path: Path) -> None:
    class Picky(Brittle):
        def process(self, batch: Batch) -> Iterable[Batch]:
            try:
                return super().process(batch)
            except ValueError as error:
                raise Permanent("never") from error

    run = Run(tmp_path, lambda: Picky({42}), Verdicts({Permanent: DeadLetter()}))
    await run.to_its_end()
    assert (run.buried, run.is_exact_without({42})) == ([42], True)


async def test_a_rejection_that_is_raised_counts_for_its_row_alone(tmp_path: Path) -> None:
    class Raises(Brittle):
        def process(self, batch: Batch) -> Iterable[Batch]:
            try:
                return super().process(batch)
            except ValueError:
                rows = [row for row, value in enumerate(batch.values) if value["n"] in self.bad]
                raise Rejected({row: Reject("odd", "it is odd") for row in rows}) from None

    run = Run(tmp_path, lambda: Raises({42, 43}), BURY)
    await run.to_its_end()
    assert (run.buried, run.is_exact_without({42, 43})) == ([42, 43], True)
    assert {doc["reason"] for doc in run.dead} == {"odd"}


@pytest.mark.parametrize("how", ["exit", "stop"])
async def test_on_failure_is_for_what_the_policies_leave(how: Any, tmp_path: Path) -> None:
    options = PipelineOptions(batch_events=40, on_failure=how)
    run = Run(tmp_path, {42}, BURY, options=options)
    await run.to_its_end()
    assert run.states[-1] == "stopped"
    assert (run.buried, run.is_exact_without({42})) == ([42], True)


async def test_a_step_that_fails_on_everything_is_not_the_events_fault(tmp_path: Path) -> None:
    run = Run(tmp_path, set(range(EVENTS)), BURY, events=EVENTS)
    with anyio.move_on_after(1800):
        await run.supervisor.run()
    assert 10 <= len(run.buried) <= 10 + 30, "ten at once, then one a minute"
    assert run.supervisor.failure is not None
    assert "it may not be the events" in run.supervisor.failure
    assert run.made < 250, "with pauses that grow"


async def test_then_on_failure_decides(tmp_path: Path) -> None:
    options = PipelineOptions(on_failure="exit")
    run = Run(tmp_path, set(range(EVENTS)), BURY, options=options)
    with pytest.raises(ExitRequested):
        await run.supervisor.run()
    assert run.made == 12, "the batch, ten events, and one that it is not given up for"


async def test_a_run_of_bad_events_holds_the_good_ones_up_and_ends(tmp_path: Path) -> None:
    bad = set(range(20, 45))
    run = Run(tmp_path, bad, BURY)
    took = await run.to_its_end(3600)
    assert (run.buried, run.is_exact_without(bad)) == (sorted(bad), True)
    assert 14 * 60 <= took < 17 * 60, "ten at once, then one a minute"


async def test_two_steps_with_state_each_set_their_own_aside(tmp_path: Path) -> None:
    topic = topic_of(EVENTS)
    dead: list[Any] = []
    found: dict[str, list[Any]] = {"a": [], "b": []}
    spec = pipeline(
        source(topic),
        stage("window", "a", lambda _context: Brittle({3, 42})),
        stage("window", "b", lambda _context: Brittle({42, 77})),
        sink(found["a"], "to_a", inputs=("a",)),
        sink(found["b"], "to_b", inputs=("b",)),
        sink([]),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[BURY],
    )
    with anyio.fail_after(600):
        await Supervisor(spec, surroundings(MemoryStore(), state_dir=tmp_path)).run()
    for name, bad in (("a", {3, 42}), ("b", {42, 77})):
        exact = {window: {total} for window, total in windows_without(bad, EVENTS).items()}
        assert totals(found[name]) == exact
    failed = {(doc["stage"], doc["original_message"]["n"]) for doc in dead}
    assert failed == {("a", 3), ("a", 42), ("b", 42), ("b", 77)}


async def test_a_reload_gives_every_event_another_chance(tmp_path: Path) -> None:
    bad = {42}
    run = Run(tmp_path, bad, Thrice())
    async with anyio.create_task_group() as group:
        group.start_soon(run.supervisor.run)
        await anyio.sleep(3)  # it waits for its third life
        bad.clear()
        spec = run.spec(BURY, PipelineOptions(batch_events=10))
        await run.supervisor.carry_out(await run.supervisor.prepare(spec), spec, "")
    assert (run.buried, run.is_exact_without(())) == ([], True)


async def test_a_client_that_sends_a_bad_event_again_holds_nobody_up(tmp_path: Path) -> None:
    """Its source gives the event another place each time: it is known by what it holds."""
    dead: list[Any] = []
    rows: list[Any] = []
    made: list[Requests] = []

    def make(context: Any) -> Requests:
        made.append(Requests(context))
        return made[-1]

    spec = pipeline(
        stage("source", "in", make),
        stage("window", "w", lambda _context: Brittle({42})),
        sink(rows),
        sink([], "windows", inputs=("w",)),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[Thrice()],
    )
    supervisor = Supervisor(spec, surroundings(MemoryStore(), state_dir=tmp_path))

    async def send_until_answered(number: int) -> str:
        while True:
            place = made[-1]
            if supervisor.status().state == "running":
                offset = len(place._asked) + len(place._queue)
                place.ask(number)
                while supervisor.status().state == "running" and made[-1] is place:
                    if offset in place.answers:
                        return place.answers[offset][1]
                    await anyio.sleep(0.1)
            await anyio.sleep(0.1)

    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await supervisor.running.wait()
        with anyio.fail_after(60):
            assert await send_until_answered(1) == "stored"
            assert await send_until_answered(42) == "dead_lettered"
            assert await send_until_answered(2) == "stored"
        supervisor.stop()
    assert [doc["original_message"]["n"] for doc in dead] == [42]
