"""Events that clients send again, and a step with state that fails on them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from streamd.api import DEAD_LETTERS, Batch, DeadLetter, FunctionStep
from streamd.engine.supervisor import Supervisor
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemoryStore
from tests.unit.engine.doubles import Requests, Verdicts, sink
from tests.unit.engine.poison import Brittle

BURY = Verdicts({ValueError: DeadLetter()})


class Sips(Requests):
    """Takes a request in several polls, where it holds more than a poll may take."""

    _rest: Batch | None = None

    async def poll(self, most: int, timeout: float) -> list[Batch]:
        if self._rest is None:
            for taken in await super().poll(most, timeout):
                self._rest = taken
        else:
            await anyio.lowlevel.checkpoint()
        if (batch := self._rest) is None:
            return []
        self._rest = _part(batch, most, len(batch)) if len(batch) > most else None
        return [_part(batch, 0, most)]


def _part(batch: Batch, first: int, stop: int) -> Batch:
    assert batch.raws is not None
    offsets = batch.offsets[first:stop]
    raws = batch.raws[first:stop]
    return Batch.of_raws(raws, partition="http:0", offsets=offsets, timestamps=offsets)


class Service:
    """A pipeline behind clients who send again what was not answered."""

    def __init__(self, tmp_path: Path, *steps: Any, policy: Any = BURY) -> None:
        self.dead: list[Any] = []
        self.rows: list[Any] = []
        self.made: list[Requests] = []
        spec = pipeline(
            stage("source", "in", self._make),
            *steps,
            stage("window", "w", lambda _context: Brittle({42, 43})),
            sink(self.rows),
            sink([], "windows", inputs=("w",)),
            sink(self.dead, "dlq", inputs=(DEAD_LETTERS,)),
            policies=[policy],
        )
        self.supervisor = Supervisor(spec, surroundings(MemoryStore(), state_dir=tmp_path))

    def _make(self, context: Any) -> Requests:
        self.made.append(Sips(context))
        return self.made[-1]

    async def send(self, *numbers: int) -> list[str]:
        """Send all at once until each is answered; returns the answers."""
        while True:
            await anyio.sleep(0.1)
            if self.supervisor.status().state != "running":
                continue
            source = self.made[-1]
            first = len(source._asked) + len(source._queue)
            places = range(first, first + len(numbers))
            for number in numbers:
                source.ask(number)
            while self.supervisor.status().state == "running" and self.made[-1] is source:
                if all(place in source.answers for place in places):
                    return [source.answers[place][1] for place in places]
                await anyio.sleep(0.1)

    @property
    def buried(self) -> list[int]:
        return [doc["original_message"]["n"] for doc in self.dead]


@pytest.mark.parametrize(
    "numbers",
    [
        (42, 42),
        (1, 42, 2, 42, 3, 42),
        (42, *range(40), 42, *range(40), 42),
        (42, *range(40), 43, *range(40), 42, 43),
    ],
)
async def test_bad_events_of_one_request_hold_nobody_up(
    numbers: tuple[int, ...], tmp_path: Path
) -> None:
    service = Service(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(service.supervisor.run)
        await service.supervisor.running.wait()
        with anyio.fail_after(60):
            answers = await service.send(*numbers)
        service.supervisor.stop()
    bad = [number for number in numbers if number in (42, 43)]
    assert answers == ["dead_lettered" if n in bad else "stored" for n in numbers]
    assert Counter(service.buried) >= Counter(bad)


async def test_an_event_is_known_again_whatever_its_fields_are_called(tmp_path: Path) -> None:
    by_number = FunctionStep(lambda event: {**event, "by_number": {1: "a", "b": 2}})
    service = Service(tmp_path, stage("transform", "t", lambda _context: by_number))
    async with anyio.create_task_group() as group:
        group.start_soon(service.supervisor.run)
        await service.supervisor.running.wait()
        with anyio.fail_after(60):
            assert await service.send(42) == ["dead_lettered"]
        service.supervisor.stop()
    assert service.buried == [42]
