"""What a search for a bad event leaves behind: nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio

from streamd.api import DEAD_LETTERS, Batch, DeadLetter, StageContext
from streamd.engine.supervisor import Supervisor
from streamd.settings.model import PipelineOptions, StageSpec
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemorySource, MemoryStore, MemoryTopic
from tests.unit.engine.doubles import Verdicts, sink, topic_of
from tests.unit.engine.poison import Brittle
from tests.unit.engine.test_crash import CountWindow

BURY = Verdicts({ValueError: DeadLetter()})
MOST = 1000


class Polled(MemorySource):
    """Notes how many events each poll asks for."""

    def __init__(self, topic: MemoryTopic, context: StageContext, asked: list[int]) -> None:
        super().__init__(topic, context, endless=True)
        self._asked = asked

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        self._asked.append(max_events)
        return await super().poll(max_events, timeout)


class BrittleTotals(CountWindow):
    """A window over the results of another one; cannot count one total."""

    def __init__(self, bad: int) -> None:
        super().__init__(None)
        self._bad = bad

    def process(self, batch: Batch) -> Iterable[Batch]:
        for row, value in enumerate(batch.values):
            if value["total"] == self._bad:
                list(self._count(batch.take(range(row + 1))))
                raise ValueError("cannot count it")
        return self._count(batch)

    def _count(self, batch: Batch) -> Iterable[Batch]:
        return super().process(batch.replace([{"n": value["total"]} for value in batch.values]))


async def asked_after_the_search(
    topic: MemoryTopic, steps: list[StageSpec], tmp_path: Path
) -> tuple[list[int], list[Any]]:
    """How many events polls ask for, half a minute after a start; and the dead letters."""
    asked: list[int] = []
    dead: list[Any] = []
    spec = pipeline(
        stage("source", "in", lambda context: Polled(topic, context, asked)),
        *steps,
        sink([]),
        *(sink([], f"to_{step.id}", inputs=(step.id,)) for step in steps),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[BURY],
        options=PipelineOptions(batch_events=MOST),
    )
    supervisor = Supervisor(spec, surroundings(MemoryStore(), state_dir=tmp_path))
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await anyio.sleep(30)
        supervisor.stop()
    assert min(asked) < MOST, "it was looked for"
    return asked[-10:], dead


async def test_where_nothing_comes_behind_it_the_others_are_read_at_full_speed(
    tmp_path: Path,
) -> None:
    window = stage("window", "w", lambda _context: Brittle({38}))
    asked, dead = await asked_after_the_search(topic_of(40, 2), [window], tmp_path)
    assert [doc["original_message"]["n"] for doc in dead] == [38], "the last of its partition"
    assert asked == [MOST] * 10


async def test_so_they_are_where_the_next_result_of_a_window_is_far(tmp_path: Path) -> None:
    first = stage("window", "w", CountWindow)
    total = sum(range(30, 40))
    second = stage("window", "x", lambda _context: BrittleTotals(total), inputs=("w",))
    asked, dead = await asked_after_the_search(topic_of(45), [first, second], tmp_path)
    assert [doc["original_message"]["total"] for doc in dead] == [total]
    assert asked == [MOST] * 10
