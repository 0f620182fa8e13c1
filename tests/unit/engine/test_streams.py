"""Where batches go: fused decoding, taps, splits, and what steps make of time."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from streamd.api import DEAD_LETTERS, Batch, Codec, DeadLetter, Rejected, Rejects
from streamd.testing.batches import batch_of
from streamd.testing.harness import pipeline, stage
from tests.unit.engine.doubles import (
    Plain,
    Verdicts,
    life_of,
    numbers,
    sink,
    source,
    topic_of,
)

BURY = Verdicts({Rejected: DeadLetter()})


class Marks(Plain):
    """Marks each event, and sends odd ones to the stream `odd`."""

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        marked = batch.replace([{**v, "marks": v.get("marks", 0) + 1} for v in batch.values])
        odd = [row for row, value in enumerate(batch.values) if value["n"] % 2]
        return [marked.take(odd, stream="odd"), marked.without(odd)]


class Decodes(Plain):
    """Decodes and marks in one pass."""

    def __init__(self, marks: Marks, codec: Codec) -> None:
        self._marks = marks
        self._codec = codec

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        values, rejects = self._codec.decode(batch.raws or ())
        good = [row for row in range(len(batch)) if row not in rejects]
        read = batch.take(good, [values[row] for row in good])
        return [Rejects(rejects), *self._marks.process(read)]


class Fused(Marks):
    def typed(self, codec: Codec) -> Decodes:
        return Decodes(self, codec)


@pytest.mark.parametrize("validator", [Marks, Fused])
async def test_decoding_in_one_pass_changes_nothing(validator: Any, tmp_path: Path) -> None:
    first, second = topic_of(20, 2, "first"), topic_of(20, 2, "second")
    second.add(b"{")
    even: list[Any] = []
    odd: list[Any] = []
    dead: list[Any] = []
    spec = pipeline(
        source(first, "a"),
        source(second, "b"),
        stage("validate", "v", validator),
        sink(even),
        sink(odd, "odds", inputs=("odd",)),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[BURY],
    )
    await life_of(spec, tmp_path).run()
    assert numbers(even) == sorted([*range(0, 20, 2)] * 2)
    assert numbers(odd) == sorted([*range(1, 20, 2)] * 2)
    assert {row["marks"] for row in (*even, *odd)} == {1}
    assert [doc["topic"] for doc in dead] == ["second"]


@pytest.mark.parametrize("validator", [Marks, Fused])
async def test_a_validator_that_taps_leaves_the_stream_as_it_was(
    validator: Any, tmp_path: Path
) -> None:
    plain: list[Any] = []
    marked: list[Any] = []
    spec = pipeline(
        source(topic_of(10)),
        stage("validate", "v", validator, output="marked"),
        sink(plain),
        sink(marked, "m", inputs=("marked",)),
    )
    await life_of(spec, tmp_path).run()
    assert numbers(plain) == list(range(10))
    assert not any("marks" in row for row in plain)
    assert numbers(marked) == list(range(0, 10, 2))


@pytest.mark.parametrize("validator", [Marks, Fused])
async def test_a_step_on_two_streams_rewrites_each_in_its_place(
    validator: Any, tmp_path: Path
) -> None:
    a: list[Any] = []
    b: list[Any] = []
    spec = pipeline(
        source(topic_of(10, name="a"), "a", output="a"),
        source(topic_of(20, name="b"), "b"),
        stage("validate", "v", validator, inputs=("a", "main")),
        sink(a, "sa", inputs=("a",)),
        sink(b, "sb"),
        sink([], "odds", inputs=("odd",)),
    )
    await life_of(spec, tmp_path).run()
    assert (numbers(a), numbers(b)) == (list(range(0, 10, 2)), list(range(0, 20, 2)))
    assert {row["marks"] for row in (*a, *b)} == {1}


class Holds(Plain):
    """Keeps batches until time passes."""

    def __init__(self, _context: Any) -> None:
        self._held: list[Batch] = []

    def process(self, batch: Batch) -> list[Batch]:
        assert not any("held" in value for value in batch.values), "its own output comes back"
        self._held.append(batch)
        return []

    def tick(self, _active: float) -> list[Batch]:
        held, self._held = self._held, []
        return [batch.replace([{**v, "held": 1} for v in batch.values]) for batch in held]


async def test_what_a_step_makes_of_time_goes_on_behind_it(tmp_path: Path) -> None:
    rows: list[Any] = []
    spec = pipeline(
        source(topic_of(5)),
        stage("transform", "h", Holds),
        stage("transform", "m", Marks),
        sink(rows),
    )
    with anyio.fail_after(30):
        await life_of(spec, tmp_path).run()
    assert [(row["n"], row["marks"]) for row in rows] == [(0, 1), (2, 1), (4, 1)]


class Slices(Plain):
    """Emits its rest in slices, one a tick, as a window of very many keys does."""

    def __init__(self, _context: Any) -> None:
        self._left = 3

    def process(self, _batch: Batch) -> list[Batch]:
        return []

    def tick(self, active: float) -> list[Batch]:
        if active < math.inf or not self._left:
            return []
        self._left -= 1
        return [batch_of([{"n": self._left}], partition="w:events:0", first=3 - self._left)]


async def test_the_end_of_the_sources_waits_for_the_last_slice(tmp_path: Path) -> None:
    rows: list[Any] = []
    spec = pipeline(
        source(topic_of(1)), stage("window", "w", Slices), sink(rows, inputs=("w",)), sink([], "o")
    )
    await life_of(spec, tmp_path).run()
    assert numbers(rows) == [0, 1, 2]


async def test_a_stop_does_not_close_what_is_half_full(tmp_path: Path) -> None:
    rows: list[Any] = []
    spec = pipeline(
        source(topic_of(1), endless=True),
        stage("window", "w", Slices),
        sink(rows, inputs=("w",)),
        sink([], "o"),
    )
    life = life_of(spec, tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(5)
        life.stop()
    assert rows == []


async def test_a_stream_that_nobody_reads_swallows_and_counts(tmp_path: Path) -> None:
    topic = topic_of(10)
    life = life_of(pipeline(source(topic), stage("transform", "m", Marks), sink([])), tmp_path)
    await life.run()
    text = [
        sample.value
        for metric in life._around.telemetry.registry.collect()
        for sample in metric.samples
        if sample.name == "streamd_dropped_events_total"
    ]
    assert text == [5]
    assert topic.committed["events:0"].position == 10


async def test_a_merged_write_of_two_streams_delivers_both(tmp_path: Path) -> None:
    rows: list[Any] = []
    spec = pipeline(
        source(topic_of(10)),
        stage("transform", "m", Marks),
        sink(rows, inputs=("main", "odd")),
    )
    await life_of(spec, tmp_path).run()
    assert numbers(rows) == list(range(10))
    assert msgspec.json.encode(rows)
