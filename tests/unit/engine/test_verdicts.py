"""What each verdict does with the rows and what a failure counts; no event is lost in between."""

import itertools
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
    Fatal,
    FunctionStep,
    Misconfigured,
    Pause,
    Permanent,
    Reject,
    Rejected,
    Retry,
    Retryable,
    Split,
    Verdict,
)
from streamd.settings.model import PipelineOptions
from streamd.testing.harness import pipeline, stage
from tests.unit.engine.doubles import (
    EncodingSink,
    OutOfOrder,
    Plain,
    Through,
    Verdicts,
    life_of,
    numbers,
    refuse,
    running,
    sink,
    source,
    topic_of,
)

BURY = Verdicts({Rejected: DeadLetter()})


class Recorder:
    """Answers failures one after the other, and keeps them."""

    def __init__(self, *verdicts: Verdict) -> None:
        self.failures: list[Failure] = []
        self._verdicts = itertools.chain(verdicts, itertools.repeat(verdicts[-1]))

    def decide(self, failure: Failure) -> Verdict | None:
        self.failures.append(failure)
        return next(self._verdicts)


async def failing(errors: list[Exception], policy: Recorder, tmp_path: Path) -> list[Any]:
    """Rows that arrive in a sink whose first writes fail with these errors."""
    left = iter(errors)

    def fail(_batch: Batch) -> None:
        if (error := next(left, None)) is not None:
            raise error

    rows: list[Any] = []
    await life_of(
        pipeline(source(topic_of(4)), sink(rows, fail=fail), policies=[policy]), tmp_path
    ).run()
    return rows


async def test_each_try_counts_and_a_pause_does_not(tmp_path: Path) -> None:
    down = Retryable("down")
    policy = Recorder(Retry(1), Pause(5), Pause(5), Retry(1))
    rows = await failing([down] * 4, policy, tmp_path)
    assert numbers(rows) == [0, 1, 2, 3]
    assert [failure.attempt for failure in policy.failures] == [1, 2, 2, 2]
    assert [round(failure.elapsed) for failure in policy.failures] == [0, 1, 6, 11]


async def test_a_split_costs_no_attempt_and_keeps_the_order(tmp_path: Path) -> None:
    policy = Recorder(Split(), Split(), Retry(1))
    rows = await failing([Permanent("one of these")] * 3, policy, tmp_path)
    assert [row["n"] for row in rows] == [0, 1, 2, 3], "in the order of the source"
    assert [(len(f.batch), f.attempt) for f in policy.failures] == [(4, 1), (2, 1), (1, 1)]


async def test_a_row_cannot_be_split_so_the_next_policy_is_asked(tmp_path: Path) -> None:
    def fail(batch: Batch) -> None:
        if any(value["n"] == 2 for value in batch.values):
            raise Permanent("one of these")

    rows: list[Any] = []
    policies = [Recorder(Split()), Recorder(Drop("poison"))]
    spec = pipeline(source(topic_of(4)), sink(rows, fail=fail), policies=policies)
    await life_of(spec, tmp_path).run()
    assert numbers(rows) == [0, 1, 3]
    (dropped,) = policies[1].failures
    assert dropped.batch.offsets == [2]


async def test_only_the_failing_step_is_run_again(tmp_path: Path) -> None:
    runs: list[str] = []

    def first(batch: Batch) -> list[Batch]:
        runs.append("first")
        return [batch]

    def second(batch: Batch) -> list[Batch]:
        runs.append("second")
        if runs.count("second") < 3:
            raise Retryable("not now")
        return [batch]

    rows: list[Any] = []
    spec = pipeline(
        source(topic_of(1)),
        stage("transform", "a", lambda _context: Through(first)),
        stage("transform", "b", lambda _context: Through(second)),
        sink(rows),
        policies=[Verdicts({Retryable: Retry(1)})],
    )
    await life_of(spec, tmp_path).run()
    assert runs == ["first", "second", "second", "second"]
    assert len(rows) == 1


@pytest.mark.parametrize("verdict", [DeadLetter, True, "drop"])
async def test_an_answer_that_is_no_verdict_loses_nothing(verdict: Any, tmp_path: Path) -> None:
    topic = topic_of(10)
    spec = pipeline(source(topic), sink([], fail=refuse), policies=[Verdicts({Rejected: verdict})])
    with pytest.raises(ExceptionGroup) as caught:
        await life_of(spec, tmp_path).run()
    assert caught.group_contains(Fatal)
    assert topic.committed == {}


@pytest.mark.parametrize("rows", [{-1: 1}, {10: 1}, {}], ids=["negative", "beyond", "none"])
async def test_rejecting_rows_that_were_not_given_loses_nothing(
    rows: dict[int, int], tmp_path: Path
) -> None:
    def fail(_batch: Batch) -> None:
        raise Rejected({row: Reject("bad", "it is bad") for row in rows})

    topic = topic_of(10)
    spec = pipeline(source(topic), sink([], fail=fail), policies=[BURY])
    with pytest.raises(ExceptionGroup) as caught:
        await life_of(spec, tmp_path).run()
    assert caught.group_contains(Fatal)
    assert topic.committed == {}


async def test_without_a_policy_nothing_is_lost_and_nothing_goes_on(tmp_path: Path) -> None:
    topic = topic_of(10)
    async with running(pipeline(source(topic), sink([], fail=refuse)), tmp_path):
        await anyio.sleep(3600)
    assert topic.committed == {}


async def test_the_good_rows_of_a_refused_write_are_counted(tmp_path: Path) -> None:
    rows: list[Any] = []
    bad = FunctionStep(lambda event: {**event, "x": object()} if event["n"] == 3 else event)
    spec = pipeline(
        source(topic_of(10)),
        stage("transform", "bad", lambda _context: bad),
        stage("sink", "out", lambda _context: EncodingSink(rows)),
        policies=[Verdicts({Rejected: Drop("bad")})],
    )
    life = life_of(spec, tmp_path)
    await life.run()
    assert numbers(rows) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert life.parts is not None
    slots = life.parts.wiring.slots
    assert slots["out"].written == 9


async def test_a_result_whose_lists_do_not_fit_is_a_bug_and_shifts_no_rows(tmp_path: Path) -> None:
    class Short(Plain):
        def process(self, batch: Batch) -> list[Batch]:
            return [batch.replace(batch.values[:-1])]

    topic = topic_of(10)
    async with running(pipeline(source(topic), stage("transform", "s", Short), sink([])), tmp_path):
        await anyio.sleep(100)
    assert topic.committed == {}


async def test_each_failure_is_a_problem_of_its_stage_until_it_is_over(tmp_path: Path) -> None:
    from streamd.engine.status import status_of

    malformed = topic_of(0)
    malformed.add(b"{")
    paused = pipeline(source(malformed, endless=True), sink([]))
    stuck = pipeline(
        source(topic_of(1), endless=True), stage("transform", "t", OutOfOrder), sink([])
    )
    for spec, named in ((paused, "in"), (stuck, "t")):
        async with running(spec, tmp_path) as life:
            await anyio.sleep(15)
            seen = []
            for _ in range(60):
                await anyio.sleep(1)
                status = status_of(life, 0)
                seen.append((status.ready, status.stages[named].problem is not None))
        assert set(seen) == {(False, True)}


async def test_misconfigured_is_never_taken_for_a_bad_event(tmp_path: Path) -> None:
    topic = topic_of(10)
    dead: list[Any] = []

    def fail(_batch: Batch) -> None:
        if anyio.current_time() < 100:
            raise Misconfigured("no such table")

    rows: list[Any] = []
    spec = pipeline(
        source(topic),
        sink(rows, fail=fail),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[BURY],
        options=PipelineOptions(),
    )
    await life_of(spec, tmp_path).run()
    assert (numbers(rows), dead) == (list(range(10)), [])


async def test_a_step_that_raises_for_one_row_at_a_time_costs_no_good_row(tmp_path: Path) -> None:
    def process(batch: Batch) -> list[Batch]:
        for row, value in enumerate(batch.values):
            if value["n"] < 4900:
                raise Rejected({row: Reject("bad", "it is bad")})
        return [batch]

    rows: list[Any] = []
    dead: list[Any] = []
    spec = pipeline(
        source(topic_of(5000)),
        stage("transform", "t", lambda _context: Through(process)),
        sink(rows),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[BURY],
        options=PipelineOptions(batch_events=5000),
    )
    await life_of(spec, tmp_path).run()
    assert numbers(rows) == list(range(4900, 5000))
    assert len(dead) == 4900
