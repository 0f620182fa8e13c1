"""What every sink does.

class TestMySink(SinkContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> MySubject: ...
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.lowlevel
import msgspec
import pytest

from streamd.api import Batch, Probe, Rejected, Retryable, Sink, StageContext, merge
from streamd.testing.batches import COLUMNS, batch_of, sample_event
from streamd.testing.codecs import PlainJson
from streamd.testing.contexts import stage_context

AWKWARD = 'quote " backslash \\ line\nreturn\r tab\t nul\x00 é 漢字 \U0001f600 \u2028 {{}} %s $1'


def sink_context(
    *, inputs: tuple[str, ...] = ("main",), state_dir: Path | None = None
) -> StageContext:
    """A context for a sink: its codec is plain JSON."""
    return stage_context(
        "sink", codec=PlainJson(), inputs=inputs, state_dir=state_dir or Path("var")
    )


class SinkSubject(ABC):
    """One target, empty when a test begins, and the sinks that write to it.

    - `replay`: what a batch does that is written again after a crash. `"overwrites"`: each event
      is there once. `"appends"`: it may be there twice, and the plugin's README says so.
    - `counts_only`: the sink stores nothing that could be read back (stdout, drop): only that the
      calls succeed is tested.
    """

    replay: Literal["overwrites", "appends"] = "appends"
    counts_only: bool = False

    @abstractmethod
    def make(self) -> Sink:
        """A sink, not entered. Every call gives a new one on the same target."""

    @abstractmethod
    async def stored(self) -> list[Any]:
        """Everything in the target, in any order, each as `expected` has it."""

    def event(self, number: int, text: str = "click") -> Any:
        """An event that the sink takes; `text` has to be somewhere in it."""
        return sample_event(number, text)

    def expected(self, event: Any) -> Any:
        """What `stored` answers for an event."""
        return event

    def poison(self, number: int) -> Any:  # noqa: ARG002
        """An event that the sink refuses for good; None if it takes every event."""
        return None

    def batch(self, values: list[Any], *, first: int = 0, partition: str = "events:0") -> Batch:
        """A batch of these events."""
        return batch_of(values, first=first, partition=partition)


class SinkContract:
    """Inherit it and give the fixture `subject`."""

    @pytest.fixture
    def subject(self) -> SinkSubject:
        raise NotImplementedError("override the fixture `subject`")

    async def test_returns_when_every_row_is_stored(self, subject: SinkSubject) -> None:
        events = _events(subject, 25)
        async with subject.make() as sink:
            await sink.write(subject.batch(events))
            await _holds_exactly(subject, events)

    async def test_takes_batch_after_batch(self, subject: SinkSubject) -> None:
        events = _events(subject, 30)
        async with subject.make() as sink:
            for first in range(0, 30, 10):
                await sink.write(subject.batch(events[first : first + 10], first=first))
        await _holds_exactly(subject, events)

    async def test_takes_merged_partitions(self, subject: SinkSubject) -> None:
        events = _events(subject, 20)
        batch = merge(
            [
                subject.batch(events[:12], partition="events:0"),
                subject.batch(events[12:], partition="events:1", first=700),
            ]
        )
        async with subject.make() as sink:
            await sink.write(batch)
        await _holds_exactly(subject, events)

    async def test_takes_a_large_batch(self, subject: SinkSubject) -> None:
        async with subject.make() as sink:
            events = _events(subject, min(sink.batch.rows, 500))
            await sink.write(subject.batch(events))
        await _holds_exactly(subject, events)

    async def test_empty_batch_is_harmless(self, subject: SinkSubject) -> None:
        events = _events(subject, 1)
        async with subject.make() as sink:
            await sink.write(subject.batch([]))
            await sink.write(subject.batch(events))
        await _holds_exactly(subject, events)

    async def test_keeps_any_text(self, subject: SinkSubject) -> None:
        events = [subject.event(0, AWKWARD), subject.event(1, ""), subject.event(2, "x" * 100_000)]
        async with subject.make() as sink:
            await sink.write(subject.batch(events))
        await _holds_exactly(subject, events)

    async def test_rows_without_raws(self, subject: SinkSubject) -> None:
        events = _events(subject, 3)
        batch = subject.batch(events)
        batch.raws = None
        async with subject.make() as sink:
            await sink.write(batch)
        await _holds_exactly(subject, events)

    async def test_does_not_change_the_batch(self, subject: SinkSubject) -> None:
        batch = subject.batch(_events(subject, 5))
        before = copy.deepcopy(_columns(batch))
        async with subject.make() as sink:
            await sink.write(batch)
        assert _columns(batch) == before, "other stages read the same batch"

    async def test_replay_by_the_same_sink(self, subject: SinkSubject) -> None:
        events = _events(subject, 10)
        async with subject.make() as sink:
            await sink.write(subject.batch(events))
            await sink.write(subject.batch(events))
        await _holds_after_replay(subject, events)

    async def test_replay_after_a_restart(self, subject: SinkSubject) -> None:
        events = _events(subject, 10)
        for _ in range(2):
            async with subject.make() as sink:
                await sink.write(subject.batch(events))
        await _holds_after_replay(subject, events)

    async def test_opens_again_after_exit(self, subject: SinkSubject) -> None:
        events = _events(subject, 20)
        async with subject.make() as sink:
            await sink.write(subject.batch(events[:10]))
        async with subject.make() as sink:
            await sink.write(subject.batch(events[10:], first=10))
        await _holds_exactly(subject, events)

    async def test_opens_and_closes_without_a_write(self, subject: SinkSubject) -> None:
        async with subject.make():
            pass
        await _holds_exactly(subject, [])

    async def test_rejected_names_exactly_the_rows(self, subject: SinkSubject) -> None:
        poison = subject.poison(2)
        if poison is None:
            pytest.skip("the sink takes every event")
        events = [subject.event(0), subject.event(1), poison, subject.event(3), subject.poison(4)]
        batch = subject.batch(events)
        async with subject.make() as sink:
            with pytest.raises(Rejected) as caught:
                await sink.write(batch)
            assert sorted(caught.value.rows) == [2, 4]
            assert all(reject.message for reject in caught.value.rows.values())
            await _holds_exactly(subject, [events[0], events[1], events[3]])

    @pytest.mark.parametrize("turns", [0, 1, 3, 10])
    async def test_cancelled_write_leaves_it_usable(self, subject: SinkSubject, turns: int) -> None:
        events = _events(subject, 20)
        async with subject.make() as sink:
            await _write_cancelled_after(turns, sink, subject.batch(events[:10]))
            await _deliver(sink, subject.batch(events[:10]))
            await _deliver(sink, subject.batch(events[10:], first=10))
        await _holds_after_replay(subject, events)

    async def test_healthcheck_changes_nothing(self, subject: SinkSubject) -> None:
        if not isinstance(subject.make(), Probe):
            pytest.skip("the sink has no healthcheck")
        events = _events(subject, 3)
        async with subject.make() as sink:
            await sink.write(subject.batch(events))
        found = await subject.make().healthcheck()  # type: ignore[attr-defined]
        assert found
        assert "\n" not in found
        await _holds_exactly(subject, events)

    async def test_limits_are_sane(self, subject: SinkSubject) -> None:
        limits = subject.make().batch
        assert limits.rows >= 1
        assert limits.bytes >= 1
        assert limits.time >= 0


def _events(subject: SinkSubject, count: int) -> list[Any]:
    return [subject.event(number) for number in range(count)]


def _columns(batch: Batch) -> tuple[Any, ...]:
    return tuple(getattr(batch, name) for name in COLUMNS)


def _counted(events: Iterable[Any]) -> Counter[bytes]:
    return Counter(msgspec.json.encode(event, order="sorted") for event in events)


async def _holds_exactly(subject: SinkSubject, events: list[Any]) -> None:
    if subject.counts_only:
        return
    assert _counted(await subject.stored()) == _counted(map(subject.expected, events))


async def _holds_after_replay(subject: SinkSubject, events: list[Any]) -> None:
    if subject.replay == "overwrites":
        await _holds_exactly(subject, events)
    elif not subject.counts_only:
        stored, expected = _counted(await subject.stored()), _counted(map(subject.expected, events))
        assert set(stored) == set(expected)


async def _write_cancelled_after(turns: int, sink: Sink, batch: Batch) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(sink.write, batch)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()


async def _deliver(sink: Sink, batch: Batch) -> None:
    """Write as the engine does: a sink may answer once that it has to connect again."""
    for _ in range(3):
        try:
            return await sink.write(batch)
        except Retryable:
            await anyio.lowlevel.checkpoint()
    return await sink.write(batch)
