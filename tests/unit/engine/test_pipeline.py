"""A pipeline in memory: events arrive, positions are committed, failures go their way."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from streamd.api import (
    DEAD_LETTERS,
    Batch,
    DeadLetter,
    Failure,
    FunctionStep,
    Permanent,
    Reject,
    Rejected,
    Rejects,
    Retry,
    Retryable,
    Split,
    Stop,
    Verdict,
)
from streamd.engine.failure import PipelineStopped
from streamd.engine.pipeline import Pipeline
from streamd.settings.model import PipelineOptions
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemorySink, MemorySource, MemoryStore, MemoryTopic


class Verdicts:
    """A policy that looks the verdict up by the kind of error."""

    def __init__(self, table: dict[type, Verdict]) -> None:
        self.table = table

    def decide(self, failure: Failure) -> Verdict | None:
        return self.table.get(type(failure.error))


DEAD = Verdicts({Rejected: DeadLetter(), Permanent: Split()})


def topic_of(events: int, partitions: int = 1) -> MemoryTopic:
    topic = MemoryTopic(partitions)
    for number in range(events):
        topic.add(msgspec.json.encode({"id": f"e{number}", "n": number}), number % partitions)
    return topic


def numbers(rows: list[Any]) -> list[int]:
    return sorted(row["n"] for row in rows)


async def run(spec: Any, tmp_path: Path, store: MemoryStore | None = None) -> Pipeline:
    life = Pipeline(spec, surroundings(store or MemoryStore(), state_dir=tmp_path))
    await life.run()
    return life


def source(topic: MemoryTopic, **options: Any) -> Any:
    return stage("source", "in", lambda context: MemorySource(topic, context, **options))


def sink(rows: list[Any], name: str = "out", **options: Any) -> Any:
    given = {key: options.pop(key) for key in ("inputs", "batch", "policies") if key in options}
    return stage("sink", name, lambda _context: MemorySink(rows, **options), **given)


async def test_every_event_reaches_the_sink_and_is_committed(tmp_path: Path) -> None:
    topic, store = topic_of(5000, 3), MemoryStore()
    rows: list[Any] = []
    await run(pipeline(source(topic), sink(rows)), tmp_path, store)
    assert numbers(rows) == list(range(5000))
    assert {p: c.position for p, c in topic.committed.items()} == {
        p: len(records) for p, records in topic.records.items()
    }
    assert {c.tag.partition(":")[0] for c in topic.committed.values()} == {"memory"}
    assert store.positions_of["test"]["in"] == {p: len(r) for p, r in topic.records.items()}


async def test_steps_rewrite_tap_and_split_streams(tmp_path: Path) -> None:
    class Odd:
        """Moves odd numbers to the stream `odd`."""

        def __init__(self, _context: Any) -> None: ...

        async def __aenter__(self) -> "Odd":
            return self

        async def __aexit__(self, *_exc: object) -> None: ...

        def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
            odd = [row for row, value in enumerate(batch.values) if value["n"] % 2]
            yield batch.take(odd, stream="odd")
            yield batch.without(odd)

    main: list[Any] = []
    odd: list[Any] = []
    tapped: list[Any] = []
    double = FunctionStep(lambda event: {**event, "n": event["n"] * 2})
    tap = FunctionStep(lambda event: event if event["n"] == 4 else None)
    spec = pipeline(
        source(topic_of(10)),
        stage("transform", "odd", Odd),
        stage("transform", "double", lambda _context: double),
        stage("transform", "fours", lambda _context: tap, output="fours"),
        sink(main),
        sink(odd, "odds", inputs=("odd",)),
        sink(tapped, "fours_sink", inputs=("fours",)),
    )
    await run(spec, tmp_path)
    assert numbers(main) == [0, 4, 8, 12, 16]
    assert numbers(odd) == [1, 3, 5, 7, 9]
    assert numbers(tapped) == [4]


async def test_a_step_that_raises_rejected_keeps_the_other_rows(tmp_path: Path) -> None:
    class Refuses:
        def __init__(self, _context: Any) -> None: ...

        async def __aenter__(self) -> "Refuses":
            return self

        async def __aexit__(self, *_exc: object) -> None: ...

        def process(self, batch: Batch) -> list[Batch]:
            bad = {i: Reject("bad", "no") for i, v in enumerate(batch.values) if v["n"] in (3, 7)}
            if bad:
                raise Rejected(bad)
            return [batch]

    rows: list[Any] = []
    dead: list[Any] = []
    spec = pipeline(
        source(topic_of(10)),
        stage("transform", "refuses", Refuses),
        sink(rows),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[DEAD],
    )
    await run(spec, tmp_path)
    assert numbers(rows) == [0, 1, 2, 4, 5, 6, 8, 9]
    assert sorted(doc["dlq_id"] for doc in dead) == ["dlq_1700000000003_e3", "dlq_1700000000007_e7"]
    assert {(doc["retry_count"], doc["reason"], doc["stage"]) for doc in dead} == {
        (0, "bad", "refuses")
    }


async def test_a_permanent_error_is_bisected_down_to_the_poison(tmp_path: Path) -> None:
    def fail(batch: Batch) -> None:
        if any(value["n"] == 123 for value in batch.values):
            raise Permanent("one of these does not fit")

    class Bisect:
        def decide(self, failure: Failure) -> Verdict | None:
            return Split() if len(failure.batch) > 1 else DeadLetter()

    rows: list[Any] = []
    dead: list[Any] = []
    spec = pipeline(
        source(topic_of(1000)),
        sink(rows, fail=fail),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[Bisect()],
    )
    await run(spec, tmp_path)
    assert numbers(rows) == [n for n in range(1000) if n != 123]
    assert [doc["dlq_id"] for doc in dead] == ["dlq_1700000000123_e123"]
    assert dead[0]["retry_count"] == 0
    assert dead[0]["original_message"]["n"] == 123


async def test_retries_wait_as_the_policy_says_and_then_dead_letter(tmp_path: Path) -> None:
    tries: list[float] = []

    class TwoFourEight:
        def decide(self, failure: Failure) -> Verdict | None:
            return Retry(2.0**failure.attempt) if failure.attempt <= 3 else DeadLetter()

    def fail(_batch: Batch) -> None:
        tries.append(anyio.current_time())
        raise Retryable("down") from ConnectionError("refused")

    dead: list[Any] = []
    spec = pipeline(
        source(topic_of(5)),
        sink([], fail=fail),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[TwoFourEight()],
    )
    await run(spec, tmp_path)
    assert [round(b - a) for a, b in itertools.pairwise(tries)] == [2, 4, 8]
    assert len(dead) == 5
    assert {(doc["retry_count"], doc["error"]["type"]) for doc in dead} == {(3, "ConnectionError")}


async def test_a_dead_letter_that_its_sink_refuses_is_kept_in_a_file(tmp_path: Path) -> None:
    def refuse(batch: Batch) -> None:
        raise Rejected({row: Reject("too_large", "too large") for row in range(len(batch))})

    class AllBad:
        def __init__(self, _context: Any) -> None: ...

        async def __aenter__(self) -> "AllBad":
            return self

        async def __aexit__(self, *_exc: object) -> None: ...

        def process(self, batch: Batch) -> list[Rejects]:
            return [Rejects({row: Reject("bad", "no") for row in range(len(batch))})]

    topic = topic_of(3)
    spec = pipeline(
        source(topic),
        stage("transform", "bad", AllBad),
        sink([]),
        sink([], "dlq", inputs=(DEAD_LETTERS,), fail=refuse),
        policies=[DEAD],
    )
    await run(spec, tmp_path)
    lines = (tmp_path / "dead_letters" / "test.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line)["original_message"]["n"] for line in lines] == [0, 1, 2]
    assert msgspec.json.decode(lines[0])["refused_by"] == "dlq"
    assert topic.committed["events:0"].position == 3


async def test_a_sink_that_is_down_holds_the_source_back_and_resumes(tmp_path: Path) -> None:
    down_until = 100.0
    rows: list[Any] = []
    topic = topic_of(50_000)
    made: list[MemorySource] = []

    def fail(_batch: Batch) -> None:
        if anyio.current_time() < down_until:
            raise Retryable("down")

    def make(context: Any) -> MemorySource:
        made.append(MemorySource(topic, context))
        return made[-1]

    spec = pipeline(
        stage("source", "in", make),
        sink(rows, fail=fail),
        options=PipelineOptions(max_events=3000),
    )
    life = Pipeline(spec, surroundings(MemoryStore(), state_dir=tmp_path))
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(90)
        assert rows == []
        assert made[0].polls == 3
        assert made[0].keepalives > 50
        assert topic.committed == {}
    assert numbers(rows) == list(range(50_000))


async def test_stop_verdict_leaves_the_rows_uncommitted(tmp_path: Path) -> None:
    def fail(_batch: Batch) -> None:
        raise Permanent("no")

    topic = topic_of(10)
    spec = pipeline(
        source(topic), sink([], fail=fail), policies=[Verdicts({Permanent: Stop("as asked")})]
    )
    with pytest.raises(ExceptionGroup) as caught:
        await run(spec, tmp_path)
    assert caught.group_contains(PipelineStopped)
    assert topic.committed == {}


async def test_stopping_drains_what_is_in_flight(tmp_path: Path) -> None:
    rows: list[Any] = []
    topic = topic_of(2500)
    spec = pipeline(source(topic, endless=True), sink(rows))
    life = Pipeline(spec, surroundings(MemoryStore(), state_dir=tmp_path))
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(0.01)
        life.stop()
    assert topic.committed["events:0"].position == len(rows)


async def test_a_store_that_fails_commits_nothing_until_it_works(tmp_path: Path) -> None:
    rows: list[Any] = []
    topic, store = topic_of(10), MemoryStore()
    store.fail = Retryable("disk full")
    spec = pipeline(source(topic, endless=True), sink(rows))
    life = Pipeline(spec, surroundings(store, state_dir=tmp_path))
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(20)
        assert len(rows) == 10
        assert topic.committed == {}
        store.fail = None
        await anyio.sleep(5)
        assert topic.committed["events:0"].position == 10
        life.stop()
