"""Dead letters: every event can become one, and each is kept somewhere before it counts as done."""

from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from streamd.api import DEAD_LETTERS, DeadLetter, FunctionStep, Rejected
from streamd.testing.harness import pipeline, stage
from tests.unit.engine.doubles import (
    EncodingSink,
    RejectsAll,
    Verdicts,
    life_of,
    numbers,
    refuse,
    sink,
    source,
    topic_of,
)

BURY = Verdicts({Rejected: DeadLetter()})

ODD = [object(), {1, 2}, 2**70, 10**5000, "\ud800", {(1, 2): 3}, float("nan"), complex(1)]


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
async def test_an_event_that_no_codec_takes_becomes_a_dead_letter(
    value: Any, tmp_path: Path
) -> None:
    topic = topic_of(10)
    rows: list[Any] = []
    dead: list[Any] = []
    odd = FunctionStep(lambda event: {**event, "x": value} if event["n"] == 5 else event)
    spec = pipeline(
        source(topic),
        stage("transform", "odd", lambda _context: odd),
        stage("sink", "out", lambda _context: EncodingSink(rows)),
        stage("sink", "dlq", lambda _context: EncodingSink(dead), inputs=(DEAD_LETTERS,)),
        policies=[BURY],
    )
    with anyio.fail_after(1000):
        await life_of(spec, tmp_path).run()
    assert topic.committed["events:0"].position == 10
    assert {0, 1, 2, 3, 4, 6, 7, 8, 9} <= set(numbers(rows))
    assert len(rows) + len(dead) == 10


RAWS = [
    b"",
    b"\xff",
    b"{",
    b"[" * 100_000,
    b'{"id": "\\ud800"}',
    b'{"id":' + b"9" * 5000 + b"}",
    b"NaN",
    b'{"id": 1e400}',
    b"{}\n{}",
    b'{"n": 1}\n',
    b"\xef\xbb\xbf{}",
]


async def test_bytes_of_every_kind_become_dead_letters(tmp_path: Path) -> None:
    topic = topic_of(0)
    for raw in RAWS:
        topic.add(raw)
    dead: list[Any] = []
    spec = pipeline(
        source(topic),
        stage("validate", "v", RejectsAll),
        sink([]),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[BURY],
    )
    with anyio.fail_after(1000):
        await life_of(spec, tmp_path).run()
    assert sorted(doc["metadata"]["offset"] for doc in dead) == list(range(len(RAWS)))
    assert all(msgspec.json.encode(doc) for doc in dead)


async def test_a_refused_dead_letter_is_never_buried_again(tmp_path: Path) -> None:
    """Not even where the policies of its sink say so."""
    spec = pipeline(
        source(topic_of(3)),
        stage("transform", "bad", RejectsAll),
        sink([]),
        sink([], "dlq", inputs=(DEAD_LETTERS,), fail=refuse, policies=[BURY]),
        policies=[BURY],
    )
    with anyio.fail_after(1000):
        await life_of(spec, tmp_path).run()
    lines = (tmp_path / "dead_letters" / "test.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line)["original_message"]["n"] for line in lines] == [0, 1, 2]


async def test_a_dead_letter_that_no_disk_takes_is_not_done(tmp_path: Path) -> None:
    (tmp_path / "dead_letters").write_text("a file where the folder should be")
    topic = topic_of(3)
    spec = pipeline(source(topic), sink([], fail=refuse), policies=[BURY])
    with pytest.raises(ExceptionGroup) as caught:
        await life_of(spec, tmp_path).run()
    assert caught.group_contains(OSError)
    assert topic.committed == {}


async def test_an_event_that_fails_in_several_sinks_has_a_letter_of_each(tmp_path: Path) -> None:
    """Under one id the last would overwrite the others, and a replay would leave sinks out."""
    dead: list[Any] = []
    spec = pipeline(
        source(topic_of(1)),
        stage("window", "w", RejectsAll),
        sink([], "results", inputs=("w",)),
        sink([], "b", fail=refuse),
        sink([], "a", fail=refuse),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[BURY],
    )
    with anyio.fail_after(1000):
        await life_of(spec, tmp_path).run()
    assert sorted((doc["stage"], doc["dlq_id"][len("dlq_1700000000000_") :]) for doc in dead) == [
        ("a", "e0-a"),
        ("b", "e0-b"),
        ("w", "e0-w"),
    ]
