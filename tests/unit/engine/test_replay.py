"""Dead letters that are let in again: each where it failed, nothing twice, nothing lost."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest

from streamd.api import (
    DEAD_LETTERS,
    Batch,
    DeadLetter,
    FunctionStep,
    Rejected,
    Rejects,
    Retryable,
    StageContext,
)
from streamd.engine.pipeline import Pipeline
from streamd.engine.replay import ReplayRefusedError, ReplayRequest, RowAnswer, replay
from streamd.settings.model import PipelineSpec, StageSpec
from streamd.testing.codecs import AskingJson
from streamd.testing.harness import pipeline, stage
from streamd.testing.memory import MemorySink, MemorySource
from tests.unit.engine.doubles import (
    Made,
    Plain,
    Requests,
    Through,
    Verdicts,
    numbers,
    refuse,
    reject_all,
    running,
    sink,
    source,
    topic_of,
)

BURY = Verdicts({Rejected: DeadLetter()})


def dlq(rows: list[Any]) -> StageSpec:
    return sink(rows, "dlq", inputs=(DEAD_LETTERS,))


class Switch:
    """Something that is refused until it is turned on."""

    def __init__(self) -> None:
        self.on = False

    def __call__(self, batch: Batch) -> None:
        if not self.on:
            refuse(batch)


class Gate(Plain):
    """A step that refuses everything until it is turned on."""

    def __init__(self, switch: Switch, output: Callable[[Batch], Batch] = lambda b: b) -> None:
        self._switch = switch
        self._output = output

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        if not self._switch.on:
            return [Rejects(reject_all(batch))]
        return [self._output(batch)]


async def buried(life: Pipeline, dead: list[Any], count: int) -> tuple[dict[str, Any], ...]:
    """The documents, once there are so many and nothing is in flight."""
    for _ in range(100):
        if len(dead) >= count and life.parts is not None and life.parts.ledger.idle:
            break
        await anyio.sleep(1)
    assert len(dead) >= count
    documents = tuple(dead)
    dead.clear()
    return documents


async def test_a_row_comes_back_to_the_sink_that_refused_it_and_to_no_other(
    tmp_path: Path,
) -> None:
    good: list[Any] = []
    late: list[Any] = []
    dead: list[Any] = []
    places: list[Any] = []
    up = Switch()

    def refuse_odd(batch: Batch) -> None:
        up(batch)
        places.extend(batch.locate(row) for row in range(len(batch)))

    spec = pipeline(
        source(topic_of(6, 2), endless=True),
        sink(good, "good"),
        sink(late, "late", fail=refuse_odd),
        dlq(dead),
        policies=[BURY],
    )
    async with running(spec, tmp_path) as life:
        documents = await buried(life, dead, 6)
        up.on = True
        answers = await replay(life, ReplayRequest(documents))
    assert answers == [RowAnswer("done")] * 6
    assert numbers(late) == numbers(good) == list(range(6))
    assert sorted(places) == [("events:0", at) for at in range(3)] + [
        ("events:1", at) for at in range(3)
    ]
    assert dead == []


async def test_a_row_that_fails_again_goes_on_counting_and_is_parked_in_the_end(
    tmp_path: Path,
) -> None:
    dead: list[Any] = []
    spec = pipeline(
        source(topic_of(1), endless=True), sink([], fail=refuse), dlq(dead), policies=[BURY]
    )
    async with running(spec, tmp_path) as life:
        (first,) = await buried(life, dead, 1)
        seen = []
        document = first
        for _ in range(3):
            answers = await replay(life, ReplayRequest((document,), park_after=3))
            assert answers == [RowAnswer("dead_lettered")]
            (document,) = await buried(life, dead, 1)
            seen.append((document["attempts"], document["replays"], document.get("parked")))
    assert seen == [(2, 1, None), (3, 2, None), (4, 3, True)]
    assert document["dlq_id"] == first["dlq_id"]
    assert document["original_message"] == first["original_message"]
    assert document["metadata"] == first["metadata"]


async def test_a_step_takes_a_row_back_and_the_stages_behind_it_get_it(tmp_path: Path) -> None:
    rows: list[Any] = []
    dead: list[Any] = []
    up = Switch()
    once = FunctionStep(lambda event: {**event, "before": event.get("before", 0) + 1})
    after = FunctionStep(lambda event: {**event, "after": event.get("after", 0) + 1})
    spec = pipeline(
        source(topic_of(4), endless=True),
        stage("transform", "once", lambda _context: once),
        stage("transform", "gate", lambda _context: Gate(up)),
        stage("transform", "after", lambda _context: after),
        sink(rows),
        dlq(dead),
        policies=[BURY],
    )
    async with running(spec, tmp_path) as life:
        documents = await buried(life, dead, 4)
        up.on = True
        assert await replay(life, ReplayRequest(documents)) == [RowAnswer("done")] * 4
        whole = await replay(life, ReplayRequest(documents[:1], whole=True))
        into = await replay(life, ReplayRequest(documents[:1], into="after"))
    assert whole == into == [RowAnswer("done")]
    assert [(row["before"], row["after"]) for row in rows] == [(1, 1)] * 6
    assert numbers(rows) == [0, 0, 0, 1, 2, 3]


async def test_a_step_that_taps_takes_a_row_back_alone(tmp_path: Path) -> None:
    """The stream that it taps has gone on without it, into the sink."""
    rows: list[Any] = []
    tapped: list[Any] = []
    dead: list[Any] = []
    up = Switch()
    spec = pipeline(
        source(topic_of(3), endless=True),
        stage("window", "tap", lambda _context: Gate(up, lambda b: b.take(range(len(b))))),
        sink(rows),
        sink(tapped, "results", inputs=("tap",)),
        dlq(dead),
        policies=[BURY],
    )
    async with running(spec, tmp_path) as life:
        documents = await buried(life, dead, 3)
        up.on = True
        await replay(life, ReplayRequest(documents))
    assert numbers(rows) == numbers(tapped) == [0, 1, 2]


async def test_a_step_of_several_streams_takes_a_row_back_on_its_own(tmp_path: Path) -> None:
    dead: list[Any] = []
    rows: list[Any] = []
    up = Switch()
    gate = Gate(up, lambda b: b.replace([(b.stream, value["n"]) for value in b.values]))
    spec = pipeline(
        source(topic_of(2, name="left"), "left", output="left", endless=True),
        source(topic_of(2, name="right"), "right", output="right", endless=True),
        stage("transform", "join", lambda _c: gate, inputs=("left", "right"), output="both"),
        sink(rows, inputs=("both",)),
        dlq(dead),
        policies=[BURY],
    )
    async with running(spec, tmp_path) as life:
        documents = await buried(life, dead, 4)
        up.on = True
        await replay(life, ReplayRequest(documents))
    assert sorted(rows) == [("left", 0), ("left", 1), ("right", 0), ("right", 1)]


async def test_bytes_that_could_not_be_decoded_come_back_through_the_source(
    tmp_path: Path,
) -> None:
    topic = topic_of(0)
    topic.add(b'{"n": 7')
    dead: list[Any] = []
    rows: list[Any] = []
    spec = pipeline(source(topic, endless=True), sink(rows), dlq(dead), policies=[BURY])
    async with running(spec, tmp_path) as life:
        (document,) = await buried(life, dead, 1)
        assert await replay(life, ReplayRequest((document,))) == [RowAnswer("dead_lettered")]
        mended = {**document, "event": {"n": 7}, "edited": True}
        assert await replay(life, ReplayRequest((mended,))) == [RowAnswer("done")]
        (answer,) = await replay(life, ReplayRequest((document,), into="out"))
    assert answer.fate == "refused"
    assert rows == [{"n": 7}]


async def test_a_codec_is_prepared_for_what_comes_back(tmp_path: Path) -> None:
    topic, codec = topic_of(1), AskingJson()
    topic.add(b'{"n": 7')
    dead: list[Any] = []
    rows: list[Any] = []

    def make(context: StageContext) -> MemorySource:
        return MemorySource(topic, context, endless=True)

    reading = stage("source", "in", make, codec=lambda _context: codec)
    async with running(pipeline(reading, sink(rows), dlq(dead), policies=[BURY]), tmp_path) as life:
        (document,) = await buried(life, dead, 1)
        mended = {**document, "event": {"n": 7}, "edited": True}
        codec.away = Retryable("the registry is away")
        with pytest.raises(ReplayRefusedError, match="away"):
            await replay(life, ReplayRequest((mended,)))
        codec.away = None
        assert await replay(life, ReplayRequest((mended,))) == [RowAnswer("done")]
    assert numbers(rows) == [0, 7]


async def test_no_client_hears_of_its_event_a_second_time(tmp_path: Path) -> None:
    """Rejected rows are the client's, but not when they come back: nobody waits for those."""
    made = Made(lambda context: Requests(context))
    dead: list[Any] = []
    told: list[Any] = []
    refusing = Switch()
    refusing.on = True
    step = Gate(refusing)
    spec = pipeline(
        stage("source", "http", made),
        stage("validate", "v", lambda _context: step),
        sink([], fail=refuse),
        dlq(dead),
        policies=[BURY],
    )
    async with running(spec, tmp_path) as life:
        await anyio.sleep(1)
        made.last.ask(0)
        (document,) = await buried(life, dead, 1)
        settle = made.last.settle

        def listen(upto: Any, exceptions: Any) -> None:
            told.extend(exceptions)
            settle(upto, exceptions)

        made.last.settle = listen
        refusing.on = False
        answers = await replay(life, ReplayRequest((document,), whole=True))
        assert answers == [RowAnswer("dead_lettered")]
        await buried(life, dead, 1)
    assert told == []


async def test_what_is_not_durable_when_the_pipeline_ends_counts_as_refused(
    tmp_path: Path,
) -> None:
    dead: list[Any] = []
    up = Switch()
    sinks: list[MemorySink] = []

    def hang(_context: Any) -> MemorySink:
        sinks.append(MemorySink([], fail=up))
        return sinks[-1]

    spec = pipeline(
        source(topic_of(1), endless=True), stage("sink", "out", hang), dlq(dead), policies=[BURY]
    )
    outcome: list[Exception] = []

    async def try_it(life: Pipeline, document: dict[str, Any]) -> None:
        try:
            await replay(life, ReplayRequest((document,)))
        except ReplayRefusedError as error:
            outcome.append(error)

    async with anyio.create_task_group() as tests, running(spec, tmp_path) as life:
        (document,) = await buried(life, dead, 1)

        def down(_batch: Batch) -> None:
            raise Retryable("down")

        sinks[0].fail = down
        tests.start_soon(try_it, life, document)
        await anyio.sleep(10)
        assert outcome == []
    assert len(outcome) == 1
    with pytest.raises(ReplayRefusedError, match="stopped"):
        await replay(life, ReplayRequest((document,)))


class Counts(Plain):
    """A step that keeps state."""

    def __init__(self, _context: Any = None) -> None:
        self.seen: list[str] = []

    def process(self, batch: Batch) -> Iterable[Batch]:
        self.seen += [batch.locate(row)[0] for row in range(len(batch))]
        return [batch]

    def assign(self, partitions: Any, rows: Any) -> None: ...

    def revoke(self, partitions: Any) -> None: ...

    def take_changes(self) -> list[Any]:
        return []


def stateful(dead: list[Any], up: Switch) -> PipelineSpec:
    return pipeline(
        source(topic_of(1), endless=True),
        stage("window", "count", Counts),
        sink([], fail=up),
        sink([], "counted", inputs=("count",)),
        dlq(dead),
        policies=[BURY],
    )


async def test_state_counts_a_row_again_only_when_asked_to(tmp_path: Path) -> None:
    dead: list[Any] = []
    up = Switch()
    async with running(stateful(dead, up), tmp_path) as life:
        (document,) = await buried(life, dead, 1)
        up.on = True
        (refused,) = await replay(life, ReplayRequest((document,), whole=True))
        assert refused.fate == "refused"
        assert "count" in refused.reason
        allowed = await replay(life, ReplayRequest((document,), whole=True, again=True))
        elsewhere = {**document, "topic": "other"}
        (foreign,) = await replay(life, ReplayRequest((elsewhere,), whole=True, again=True))
        assert life.parts is not None
        step: Any = life.parts.stages.steps["count"]
    assert allowed == [RowAnswer("done")]
    assert "not read here" in foreign.reason
    assert step.seen == ["events:0", "events:0"]


class Ordered(MemorySink):
    needs_order = True


async def test_a_sink_that_goes_by_order_is_given_nothing_late(tmp_path: Path) -> None:
    dead: list[Any] = []
    spec = pipeline(
        source(topic_of(1), endless=True),
        stage("sink", "out", lambda _context: Ordered([], fail=refuse)),
        dlq(dead),
        policies=[BURY],
    )
    async with running(spec, tmp_path) as life:
        (document,) = await buried(life, dead, 1)
        (answer,) = await replay(life, ReplayRequest((document,)))
    assert answer.fate == "refused"


@pytest.mark.parametrize(
    "damage",
    [
        {"stage": "gone"},
        {"stage": None},
        {"metadata": {}},
        {"original_bytes": "no base64!"},
        {"key": "base64:?"},
        {"topic": "window:events"},
        {"dlq_id": None},
    ],
    ids=str,
)
async def test_a_row_that_cannot_come_back_is_refused_and_the_others_do(
    tmp_path: Path, damage: dict[str, Any]
) -> None:
    dead: list[Any] = []
    rows: list[Any] = []
    up = Switch()
    spec = pipeline(
        source(topic_of(2), endless=True),
        stage("transform", "window", lambda _context: Through(lambda batch: [batch])),
        sink(rows, fail=up),
        dlq(dead),
        policies=[BURY],
    )
    async with running(spec, tmp_path) as life:
        first, second = await buried(life, dead, 2)
        up.on = True
        whole = "topic" in damage
        answers = await replay(life, ReplayRequest(({**first, **damage}, second), whole=whole))
    assert [answer.fate for answer in answers] == ["refused", "done"]
    assert numbers(rows) == [second["original_message"]["n"]]


async def test_keys_headers_and_time_come_back_as_they_were(tmp_path: Path) -> None:
    seen: list[Any] = []
    up = Switch()
    dead: list[Any] = []

    def look(batch: Batch) -> None:
        up(batch)
        assert batch.keys is not None
        assert batch.headers is not None
        seen.append((batch.keys, batch.headers, list(batch.timestamps), batch.raws, batch.statuses))

    def dress(batch: Batch) -> list[Batch]:
        return [
            Batch(
                [{**value, "x": 1} for value in batch.values],
                offsets=batch.offsets,
                timestamps=batch.timestamps,
                spans=batch.spans,
                raws=batch.raws,
                keys=[b"\xff\x00", b"base64:text"],
                headers=[[("a", b"\x80"), ("b", b"c")], None],
                statuses=["failed", "valid"],
            )
        ]

    spec = pipeline(
        source(topic_of(2), endless=True),
        stage("transform", "dress", lambda _context: Through(dress)),
        sink([], fail=look),
        dlq(dead),
        policies=[BURY],
    )
    async with running(spec, tmp_path) as life:
        documents = await buried(life, dead, 2)
        up.on = True
        await replay(life, ReplayRequest(documents))
    ((keys, headers, timestamps, raws, statuses),) = seen
    assert keys == [b"\xff\x00", b"base64:text"]
    assert headers == [[("a", b"\x80"), ("b", b"c")], []]
    assert timestamps == [1_700_000_000_000, 1_700_000_000_001]
    assert raws == [b'{"id":"e0","n":0}', b'{"id":"e1","n":1}']
    assert statuses == ["failed", "valid"]
