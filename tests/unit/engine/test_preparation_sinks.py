"""Sinks whose codec has to ask somebody else; and what a reload does to such codecs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio

from streamd.api import (
    DEAD_LETTERS,
    StageContext,
)
from streamd.engine.status import status_of
from streamd.settings.model import StageSpec
from streamd.testing.harness import pipeline, reload, stage
from streamd.testing.memory import MemorySink
from tests.unit.engine.asking import AskingJson, Elsewhere, TryAgain, asking_source
from tests.unit.engine.doubles import numbers, running, sink, source, topic_of


def asking_sink(rows: list[Any], elsewhere: Elsewhere, name: str = "out") -> StageSpec:
    made = [AskingJson(elsewhere)]

    def make(context: StageContext) -> MemorySink:
        assert context.codec is made[0], "the codec that is prepared is the one that is lent"
        return MemorySink(rows)

    return stage("sink", name, make, codec=lambda _context: made[0])


async def test_a_sink_is_held_back_until_its_codec_can_write(tmp_path: Path) -> None:
    elsewhere, rows, others, dead = Elsewhere(), [], [], []  # type: ignore[var-annotated]
    elsewhere.away_until(100)
    topic = topic_of(30)
    spec = pipeline(
        source(topic, endless=True),
        asking_sink(rows, elsewhere),
        sink(others, "other"),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[TryAgain()],
    )
    async with running(spec, tmp_path) as life:
        await anyio.sleep(90)
        status = status_of(life, 0)
        assert status.stages["out"].problem == "the registry is away"
        assert status.stages["other"].problem is None
        assert (numbers(others), rows, topic.committed) == (list(range(30)), [], {})
        await anyio.sleep(90)
        assert status_of(life, 0).ready
    assert (numbers(rows), dead) == (list(range(30)), [])
    assert topic.committed["events:0"].position == 30


async def test_a_reload_replaces_a_sink_that_is_held_back(tmp_path: Path) -> None:
    elsewhere, rows = Elsewhere(), []  # type: ignore[var-annotated]
    elsewhere.away_until(10_000)
    held = pipeline(source(topic_of(30), endless=True), asking_sink(rows, elsewhere))
    plain = pipeline(held.sources[0], sink(rows))
    async with running(held, tmp_path) as life:
        await anyio.sleep(90)
        await reload(life, plain)
        await anyio.sleep(5)
    assert numbers(rows) == list(range(30))


async def test_a_stage_that_stays_keeps_its_codec_through_a_reload(tmp_path: Path) -> None:
    elsewhere, rows = Elsewhere(), []  # type: ignore[var-annotated]
    made: list[AskingJson] = []

    def codec(_context: StageContext) -> AskingJson:
        made.append(AskingJson(elsewhere))
        return made[-1]

    topic = topic_of(10)
    before = pipeline(asking_source(topic, codec, endless=True), sink(rows))
    after = pipeline(before.sources[0], *before.sinks, sink([], "more"))
    async with running(before, tmp_path) as life:
        await anyio.sleep(5)
        await reload(life, after)
        topic.add(b'{"n": 5}')
        await anyio.sleep(5)
    assert len(rows) == 11
    assert len(made) == 1
    assert len(elsewhere.asked) == 1, "it still knows what it has learnt"
