"""The bill of one event: what the engine does must follow the number of batches, never of events.

The same number of batches is sent through twice, of ten events each and of a thousand. Task
switches, calls and allocations that the engine makes may not differ.
"""

import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import anyio.lowlevel
import pytest

import streamd.api
from streamd.api import Batch, BatchLimits, Reject, StageContext
from streamd.engine.pipeline import Pipeline
from streamd.settings.model import PipelineOptions
from streamd.testing.crash import run_for
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemoryStore

BATCHES, SMALL, LARGE = 50, 10, 1000
PACKAGE = str(Path(streamd.api.__file__).parent.parent)
ENGINE = tuple(f"{PACKAGE}/{folder}/" for folder in ("engine", "api", "telemetry"))


class Source:
    """Gives a number of equal batches that were made before, decoded or not."""

    resumes = True

    def __init__(self, context: StageContext, rows: int, *, decoded: bool) -> None:
        assert context.control is not None
        self._decoded = decoded
        self._control = context.control
        self._raws = [b"{}"] * rows
        self._values: list[Any] = [{}] * rows
        self._given = 0

    async def __aenter__(self) -> "Source":
        return self

    async def __aexit__(self, *_exc: object) -> None: ...

    async def poll(self, _max_events: int, _timeout: float) -> list[Batch]:
        if not self._given:
            await self._control.assigned({"events:0": None})
        await anyio.lowlevel.checkpoint()
        first = self._given * len(self._raws)
        self._given += 1
        offsets = range(first, first + len(self._raws))
        batch = Batch.of_raws(self._raws, partition="events:0", offsets=offsets, timestamps=offsets)
        if self._decoded:
            batch.values = self._values
        return [batch]

    async def commit(self, _positions: Any, _tag: str) -> None: ...

    def exhausted(self) -> bool:
        return self._given >= BATCHES


class Codec:
    """Decodes into what was made before."""

    content_type = "application/json"
    extension = ".json"

    def __init__(self, rows: int) -> None:
        self._values: list[Any] = [{}] * rows

    def decode(self, _raws: Any) -> tuple[list[Any], dict[int, Reject]]:
        return self._values, {}

    def encode(self, _values: Any) -> list[bytes]:
        return []


class AskingCodec(Codec):
    """Has to be prepared, and knows everything already."""

    prepares = True

    async def prepare_to_decode(self, _raws: Any) -> None: ...

    async def prepare_to_encode(self, _values: Any) -> None: ...


class Pass:
    async def __aenter__(self) -> "Pass":
        return self

    async def __aexit__(self, *_exc: object) -> None: ...

    def process(self, batch: Batch) -> list[Batch]:
        return [batch]


class Sink:
    batch = BatchLimits(rows=1)  # no merging: one write per batch

    async def __aenter__(self) -> "Sink":
        return self

    async def __aexit__(self, *_exc: object) -> None: ...

    async def write(self, _batch: Batch) -> None: ...


def bill(rows: int, codec: type[Codec] | None = None) -> tuple[int, Counter[str]]:
    """Task switches of a whole run, and the calls that the engine's own code made.

    With a codec the batches come undecoded, and the sinks have it too.
    """
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(ENGINE):
            name = getattr(argument, "__name__", "") if event == "c_call" else ""
            calls[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name} {name}"] += 1

    def source(context: StageContext) -> Source:
        return Source(context, rows, decoded=codec is None)

    async def main() -> None:
        limits = BatchLimits(rows=rows)
        coded: Any = {} if codec is None else {"codec": lambda _context: codec(rows)}
        spec = pipeline(
            stage("source", "in", source, **coded),
            stage("transform", "pass", lambda _context: Pass()),
            stage("sink", "out", lambda _context: Sink(), batch=limits, **coded),
            stage("sink", "other", lambda _context: Sink(), batch=limits, **coded),
            options=PipelineOptions(epoch_events=20 * rows, max_events=1000 * rows),
        )
        await Pipeline(spec, surroundings(MemoryStore())).run()

    sys.setprofile(count)
    try:
        steps = run_for(10**9, main)
    finally:
        sys.setprofile(None)
    assert steps is not None
    return steps, calls


@pytest.mark.parametrize("codec", [None, Codec, AskingCodec])
def test_task_switches_and_calls_do_not_follow_the_number_of_events(
    codec: type[Codec] | None,
) -> None:
    bill(SMALL, codec)  # imports and caches
    small_steps, small = bill(SMALL, codec)
    large_steps, large = bill(LARGE, codec)
    assert large_steps == small_steps
    more = {name: (large[name], small[name]) for name in large if large[name] > small[name]}
    assert not more, "the engine does this per event"


def test_a_codec_costs_no_task_switches() -> None:
    decoded, _ = bill(SMALL)
    steps, calls = bill(SMALL, Codec)
    assert steps == decoded
    assert not any("until_ready" in call for call in calls)
    steps, calls = bill(SMALL, AskingCodec)
    assert steps == decoded, "one that knows all has nothing to wait for"
    assert calls["preparation.py:until_ready "] == 3 * BATCHES, "the source, and two sinks"


def test_a_batch_costs_few_task_switches() -> None:
    steps, _ = bill(SMALL)
    assert steps / BATCHES < 12


def test_allocations_of_the_engine_do_not_follow_the_number_of_events() -> None:
    def held(rows: int) -> int:
        tracemalloc.start()
        try:
            before = tracemalloc.take_snapshot()
            bill(rows)
            after = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        filters = [tracemalloc.Filter(True, f"{folder}*") for folder in ENGINE]
        grown = after.filter_traces(filters).compare_to(before.filter_traces(filters), "lineno")
        return sum(max(0, line.count_diff) for line in grown)

    held(SMALL)
    # One object per event would be fifty thousand more.
    assert held(LARGE) <= held(SMALL) + 10 * BATCHES
