"""Sources whose clients wait: an answer comes at once, and it is the true one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from streamd.api import (
    DEAD_LETTERS,
    Batch,
    BatchLimits,
    DeadLetter,
    Drop,
    Rejected,
    Rejects,
)
from streamd.settings.model import StageSpec
from streamd.testing.harness import pipeline, stage
from tests.unit.engine.doubles import (
    Made,
    RejectsAll,
    Requests,
    SlowSink,
    Through,
    Verdicts,
    refuse,
    reject_all,
    running,
    sink,
    source,
    topic_of,
)

GATHERS = BatchLimits(time=60)
BURY = Verdicts({Rejected: DeadLetter()})


async def answers_to(
    requests: int,
    *stages: StageSpec,
    state_dir: Path,
    every: float = 0.0,
    answers_rejects: bool = True,
    policies: Sequence[Any] = (),
) -> Mapping[int, tuple[float, str]]:
    """Seconds until each answer, and the outcome."""
    made = Made(lambda context: Requests(context, answers_rejects=answers_rejects))
    spec = pipeline(stage("source", "http", made), *stages, policies=policies)
    async with running(spec, state_dir):
        await anyio.sleep(1)
        for number in range(requests):
            made.last.ask(number)
            if every:
                await anyio.sleep(every)
        await anyio.sleep(200)
    answers: Mapping[int, tuple[float, str]] = made.last.answers
    assert len(answers) == requests
    return answers


async def test_nobody_waits_for_a_sink_to_gather(tmp_path: Path) -> None:
    answers = await answers_to(5, sink([], batch=GATHERS), every=0.3, state_dir=tmp_path)
    assert max(seconds for seconds, _ in answers.values()) < 0.1


async def test_many_clients_share_the_writes_of_a_slow_sink(tmp_path: Path) -> None:
    slow = SlowSink([], 1)
    out = stage("sink", "out", lambda _context: slow, batch=GATHERS)
    answers = await answers_to(50, out, every=0.2, state_dir=tmp_path)
    assert max(seconds for seconds, _ in answers.values()) < 4
    assert slow.writes < 15


async def test_a_dead_letter_is_not_kept_waiting_either(tmp_path: Path) -> None:
    answers = await answers_to(
        1,
        sink([], fail=refuse),
        sink([], "dlq", inputs=(DEAD_LETTERS,), batch=GATHERS),
        policies=[BURY],
        state_dir=tmp_path,
    )
    seconds, outcome = answers[0]
    assert (seconds < 0.1, outcome) == (True, "dead_lettered")


async def test_rejected_events_go_back_to_the_client_and_not_to_the_policies(
    tmp_path: Path,
) -> None:
    dead: list[Any] = []
    answers = await answers_to(
        1,
        stage("validate", "v", RejectsAll),
        sink([]),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[BURY],
        state_dir=tmp_path,
    )
    assert answers[0][1] == "rejected"
    assert dead == []


async def test_a_source_that_leaves_rejects_to_the_policies_is_told_of_them(tmp_path: Path) -> None:
    dead: list[Any] = []
    answers = await answers_to(
        1,
        stage("validate", "v", RejectsAll),
        sink([]),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        answers_rejects=False,
        policies=[BURY],
        state_dir=tmp_path,
    )
    assert answers[0][1] == "dead_lettered"
    assert len(dead) == 1


async def test_a_dropped_event_is_not_called_stored(tmp_path: Path) -> None:
    answers = await answers_to(
        1,
        sink([], fail=refuse),
        policies=[Verdicts({Rejected: Drop("unwanted")})],
        state_dir=tmp_path,
    )
    assert answers[0][1] == "dropped"


async def test_each_event_of_a_merged_write_gets_its_own_answer(tmp_path: Path) -> None:
    def refuse_odd(batch: Batch) -> None:
        odd = {r: reject for r, reject in reject_all(batch).items() if batch.values[r]["n"] % 2}
        if odd:
            raise Rejected(odd)

    slow = SlowSink([], 1)
    slow.fail = refuse_odd
    answers = await answers_to(
        20,
        stage("sink", "out", lambda _context: slow),
        sink([], "dlq", inputs=(DEAD_LETTERS,)),
        every=0.05,
        policies=[BURY],
        state_dir=tmp_path,
    )
    outcomes = [outcome for _, (_, outcome) in sorted(answers.items())]
    assert outcomes == ["stored", "dead_lettered"] * 10


async def test_only_the_rejected_events_of_a_batch_are_rejected(tmp_path: Path) -> None:
    def refuse_first(batch: Batch) -> list[Batch | Rejects]:
        first = reject_all(batch)[0]
        return [Rejects({0: first}), batch.without([0])]

    step = Through(refuse_first)
    answers = await answers_to(
        3, stage("validate", "v", lambda _context: step), sink([]), state_dir=tmp_path
    )
    assert [outcome for _, (_, outcome) in sorted(answers.items())] == [
        "rejected",
        "stored",
        "stored",
    ]


async def test_a_second_source_that_nobody_waits_for_does_not_delay_answers(tmp_path: Path) -> None:
    answers = await answers_to(
        5,
        source(topic_of(100_000), "topic", endless=True),
        sink([], batch=GATHERS),
        every=0.5,
        state_dir=tmp_path,
    )
    assert max(seconds for seconds, _ in answers.values()) < 0.2
