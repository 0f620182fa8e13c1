"""Stages and short cuts for the tests of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.lowlevel
import msgspec

from streamd.api import (
    Batch,
    Failure,
    FunctionStep,
    Misconfigured,
    Reject,
    Rejected,
    Rejects,
    Retryable,
    Settlement,
    StageContext,
    Verdict,
)
from streamd.engine.pipeline import Pipeline
from streamd.engine.store import Store
from streamd.settings.model import PipelineSpec, StageSpec
from streamd.testing.codecs import PlainJson
from streamd.testing.harness import stage, surroundings
from streamd.testing.memory import MemorySink, MemorySource, MemoryStore, MemoryTopic


class Verdicts:
    """A policy that looks the verdict up by the kind of error."""

    def __init__(self, table: Mapping[type[Exception], Any]) -> None:
        self.table = table

    def decide(self, failure: Failure) -> Verdict | None:
        verdict: Verdict | None = self.table.get(type(failure.error))
        return verdict


class Plain:
    """A stage with nothing to open."""

    def __init__(self, _context: StageContext | None = None) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None: ...


class Through(Plain):
    """A step that calls a function for each batch."""

    def __init__(self, function: Callable[[Batch], Any]) -> None:
        self.process = function


class RejectsAll(Plain):
    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        return [Rejects(reject_all(batch))]


class OutOfOrder(Plain):
    """A step that cannot work before a person acts."""

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        raise Misconfigured("the registry has no such schema")


class SlowSink(MemorySink):
    """Takes a time for each write."""

    def __init__(self, rows: list[Any], seconds: float) -> None:
        super().__init__(rows)
        self.seconds = seconds

    async def write(self, batch: Batch) -> None:
        await anyio.sleep(self.seconds)
        await super().write(batch)


class EncodingSink(MemorySink):
    """Encodes what it stores; refuses the rows that it cannot encode."""

    async def write(self, batch: Batch) -> None:
        try:
            PlainJson().encode(batch.values)
        except Rejected as error:
            good = batch.without(error.rows)
            self.rows.extend(good.values)
            raise
        self.rows.extend(batch.values)


class Requests(Plain):
    """A source whose clients wait. `answers` has the seconds that each took, and its outcome."""

    resumes = False

    def __init__(self, context: StageContext, *, answers_rejects: bool = True) -> None:
        assert context.control is not None
        self.control = context.control
        self.answers_rejects = answers_rejects
        self.answers: dict[int, tuple[float, str]] = {}
        self._queue: list[bytes] = []
        self._asked: dict[int, float] = {}
        self._told: dict[int, str] = {}
        self._here = False
        self._came = anyio.Event()

    def ask(self, number: int) -> None:
        self._queue.append(msgspec.json.encode({"n": number}))
        self._came.set()

    async def poll(self, _most: int, timeout: float) -> list[Batch]:
        if not self._here:
            await self.control.assigned({"http:0": None})
            self._here = True
        with anyio.move_on_after(timeout):
            await self._came.wait()
        await anyio.lowlevel.checkpoint()
        self._came = anyio.Event()
        raws, self._queue = self._queue, []
        if not raws:
            return []
        offsets = range(len(self._asked), len(self._asked) + len(raws))
        self._asked.update(dict.fromkeys(offsets, anyio.current_time()))
        return [Batch.of_raws(raws, partition="http:0", offsets=offsets, timestamps=offsets)]

    async def commit(self, _positions: Mapping[str, int], _tag: str) -> None: ...

    def waiting(self) -> bool:
        return len(self.answers) < len(self._asked)

    def settle(self, upto: Mapping[str, int], exceptions: Iterable[Settlement]) -> None:
        self._told.update({one.offset: one.outcome for one in exceptions})
        for offset, asked in self._asked.items():
            if offset < upto.get("http:0", 0) and offset not in self.answers:
                outcome = self._told.get(offset, "stored")
                self.answers[offset] = (anyio.current_time() - asked, outcome)


def reject_all(batch: Batch) -> dict[int, Reject]:
    return {row: Reject("bad", "it is bad") for row in range(len(batch))}


def refuse(batch: Batch) -> None:
    """For `MemorySink.fail`: the sink refuses whatever comes."""
    raise Rejected(reject_all(batch))


def down(_batch: Batch) -> None:
    """For `MemorySink.fail`: the sink does not answer."""
    raise Retryable("down")


def topic_of(events: int, partitions: int = 1, name: str = "events") -> MemoryTopic:
    topic = MemoryTopic(partitions, name)
    for number in range(events):
        topic.add(msgspec.json.encode({"id": f"e{number}", "n": number}), number % partitions)
    return topic


def feed(topic: MemoryTopic, events: int) -> None:
    """Add events to a topic of one partition."""
    (records,) = topic.records.values()
    for number in range(len(records), len(records) + events):
        topic.add(msgspec.json.encode({"n": number}))


def mark(text: str) -> StageSpec:
    """A step that writes `by` into every event."""
    step = FunctionStep(lambda event: {**event, "by": text})
    return stage("transform", "mark", lambda _context: step)


def numbers(rows: Iterable[Any]) -> list[int]:
    return sorted(row["n"] for row in rows)


class Made:
    """Makes sources by `make(context)` and keeps them, so that a test can get at them."""

    def __init__(self, make: Callable[[StageContext], Any]) -> None:
        self._make = make
        self.all: list[Any] = []

    def __call__(self, context: StageContext) -> Any:
        self.all.append(self._make(context))
        return self.all[-1]

    @property
    def last(self) -> Any:
        return self.all[-1]


def source(
    topic: MemoryTopic, name: str = "in", *, output: str | None = None, **options: Any
) -> StageSpec:
    return stage(
        "source", name, lambda context: MemorySource(topic, context, **options), output=output
    )


def sink(rows: list[Any], name: str = "out", **options: Any) -> StageSpec:
    given = {key: options.pop(key) for key in ("inputs", "batch", "policies") if key in options}
    return stage("sink", name, lambda _context: MemorySink(rows, **options), **given)


def life_of(spec: PipelineSpec, state_dir: Path, store: Store | None = None) -> Pipeline:
    return Pipeline(spec, surroundings(store or MemoryStore(), state_dir=state_dir))


@asynccontextmanager
async def running(spec: PipelineSpec, state_dir: Path) -> AsyncIterator[Pipeline]:
    """A life that goes on while the block runs, and is then cut off as by a second signal."""
    life = life_of(spec, state_dir)
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        yield life
        group.cancel_scope.cancel()
