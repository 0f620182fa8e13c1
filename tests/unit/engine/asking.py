"""Codecs that have to ask somebody else, who can be away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import anyio
import msgspec

from streamd.api import (
    DeadLetter,
    Failure,
    Reject,
    Retry,
    Retryable,
    StageContext,
    Verdict,
)
from streamd.settings.model import StageSpec
from streamd.testing.codecs import PlainJson
from streamd.testing.harness import stage
from streamd.testing.memory import MemorySource, MemoryTopic


class Elsewhere:
    """What the codecs of a test ask: `fault` is raised as long as there is one."""

    def __init__(self) -> None:
        self.fault: Callable[[], Exception | None] = lambda: None
        self.asked: list[float] = []

    async def ask(self) -> None:
        self.asked.append(anyio.current_time())
        await anyio.sleep(0.01)
        if (error := self.fault()) is not None:
            raise error

    def away_until(self, time: float, error: Exception | None = None) -> None:
        away = error or Retryable("the registry is away")
        self.fault = lambda: away if anyio.current_time() < time else None


class AskingJson(PlainJson):
    """JSON whose records cannot be told before the tens of their numbers were asked for."""

    prepares = True

    def __init__(self, elsewhere: Elsewhere, unknown: Sequence[int] = ()) -> None:
        self._elsewhere = elsewhere
        self._unknown = unknown
        self._tens: set[int] = set()
        self._writes = False

    async def prepare_to_decode(self, raws: Sequence[bytes | None]) -> None:
        new = {ten_of(raw) for raw in raws if raw is not None} - self._tens
        if new:
            await self._elsewhere.ask()
            self._tens |= new

    async def prepare_to_encode(self, values: Sequence[Any]) -> None:
        assert values
        if not self._writes:
            await self._elsewhere.ask()
            self._writes = True

    def decode(self, raws: Sequence[bytes | None]) -> tuple[list[Any], dict[int, Reject]]:
        values, rejects = super().decode(raws)
        for row, raw in enumerate(raws):
            assert raw is not None
            if ten_of(raw) not in self._tens:
                raise Retryable("nobody has prepared it")
            if ten_of(raw) in self._unknown:
                values[row], rejects[row] = None, Reject("unknown_schema", "there is none")
        return values, rejects


def ten_of(raw: bytes) -> int:
    number: int = msgspec.json.decode(raw)["n"]
    return number // 10


def waits_of(elsewhere: Elsewhere) -> list[int]:
    """Whole seconds between two questions."""
    return [round(after - before) for before, after in pairwise(elsewhere.asked)]


class TryAgain:
    """Gives up soon: whatever is asked of it more than once becomes a dead letter."""

    def decide(self, failure: Failure) -> Verdict | None:
        return Retry(0.1) if failure.attempt < 2 else DeadLetter()


def asking_source(
    topic: MemoryTopic, codec: Callable[[StageContext], Any], name: str = "in", **options: Any
) -> StageSpec:
    def make(context: StageContext) -> MemorySource:
        return MemorySource(topic, context, **options)

    return stage("source", name, make, codec=codec)
