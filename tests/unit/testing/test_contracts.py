"""The contract suites pass for plain right stages and fail for ones with a known fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Self

import msgspec
import pytest

from streamd.api import (
    Batch,
    BatchLimits,
    Codec,
    Control,
    Failure,
    FunctionStep,
    Misconfigured,
    Policy,
    Reject,
    Rejected,
    Rejects,
    Retry,
    Sink,
    Source,
    Step,
    Verdict,
    partition_name,
)
from streamd.testing import PlainJson, sample_event
from streamd.testing.contracts import (
    CodecContract,
    CodecSubject,
    PolicyContract,
    PolicySubject,
    SinkContract,
    SinkSubject,
    SourceContract,
    SourceSubject,
    StepContract,
    StepSubject,
)


class Memory:
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None


class MemorySink(Memory):
    batch: ClassVar[BatchLimits] = BatchLimits(rows=10)

    def __init__(self, store: dict[Any, Any]) -> None:
        self.store = store

    async def write(self, batch: Batch) -> None:
        bad = {
            row: Reject("poison", "poison")
            for row, value in enumerate(batch.values)
            if value == "poison"
        }
        self.store |= {
            batch.locate(row): value for row, value in enumerate(batch.values) if row not in bad
        }
        if bad:
            raise Rejected(bad)


class ForgetfulSink(MemorySink):
    """Says nothing of the rows that it does not store."""

    async def write(self, batch: Batch) -> None:
        await super().write(batch.take(range(max(len(batch) - 1, 0))))


class MemorySinkSubject(SinkSubject):
    replay = "overwrites"

    def __init__(self, kind: type[MemorySink] = MemorySink) -> None:
        self.kind = kind
        self.store: dict[Any, Any] = {}

    def make(self) -> Sink:
        return self.kind(self.store)

    async def stored(self) -> list[Any]:
        return list(self.store.values())

    def poison(self, number: int) -> Any:
        return "poison"


class TestMemorySink(SinkContract):
    @pytest.fixture
    def subject(self) -> MemorySinkSubject:
        return MemorySinkSubject()


class MemorySource(Memory):
    resumes = True

    def __init__(self, raws: list[bytes], control: Control) -> None:
        self.raws, self.control, self.at = raws, control, -1

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        name = partition_name("memory")
        if self.at < 0:
            resume = await self.control.assigned({name: None})
            self.at = resume[name] or 0
        offsets = range(self.at, min(self.at + max_events, len(self.raws)))
        self.at = offsets.stop
        raws = [self.raws[i] for i in offsets]
        if not raws:
            return []
        return [Batch.of_raws(raws, partition=name, offsets=offsets, timestamps=[0] * len(offsets))]

    async def commit(self, positions: Mapping[str, int], tag: str) -> None:
        pass


class RepeatingSource(MemorySource):
    """Resumes at the event before."""

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        if self.at < 0:
            await super().poll(0, timeout)
            self.at = max(self.at - 1, 0)
        return await super().poll(max_events, timeout)


class MemorySourceSubject(SourceSubject):
    def __init__(self, kind: type[MemorySource] = MemorySource) -> None:
        self.kind = kind
        self.raws: list[bytes] = []

    def make(self, control: Control) -> Source:
        return self.kind(self.raws, control)

    async def feed(self, count: int) -> list[bytes]:
        start = len(self.raws)
        fed = [msgspec.json.encode(sample_event(start + n)) for n in range(count)]
        self.raws += fed
        return fed


class TestMemorySource(SourceContract):
    @pytest.fixture
    def subject(self) -> MemorySourceSubject:
        return MemorySourceSubject()


class FunctionSubject(StepSubject):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def make(self) -> Step:
        return FunctionStep(self.function)


class TestFunctionStep(StepContract):
    @pytest.fixture
    def subject(self) -> FunctionSubject:
        return FunctionSubject(lambda event: {**event, "seen": True})


class RunningCount(Memory):
    """Numbers the events of each partition."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.changed: set[str] = set()

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        values = []
        for row in range(len(batch)):
            partition, _ = batch.locate(row)
            self.counts[partition] = self.counts.get(partition, 0) + 1
            self.changed.add(partition)
            values.append(self.counts[partition])
        yield batch.replace(values)

    def assign(self, partitions: Iterable[str], rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        self.counts |= dict.fromkeys(partitions, 0)
        self.counts |= {partition: int(value) for partition, _, value in rows}

    def revoke(self, partitions: Iterable[str]) -> None:
        for partition in partitions:
            self.counts.pop(partition, None)

    def take_changes(self) -> list[tuple[str, bytes, bytes | None]]:
        changes = [
            (name, b"n", str(self.counts[name]).encode())
            for name in sorted(self.changed & self.counts.keys())
        ]
        self.changed.clear()
        return [*changes]


class AmnesicCount(RunningCount):
    """Takes no state back."""

    def assign(self, partitions: Iterable[str], rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        super().assign(partitions, [])


class CountSubject(StepSubject):
    def __init__(self, kind: type[RunningCount] = RunningCount) -> None:
        self.kind = kind

    def make(self) -> Step:
        return self.kind()


class TestStatefulStep(StepContract):
    @pytest.fixture
    def subject(self) -> CountSubject:
        return CountSubject()


class JsonSubject(CodecSubject):
    def make(self) -> Codec:
        return PlainJson()


class TestPlainJson(CodecContract):
    @pytest.fixture
    def subject(self) -> JsonSubject:
        return JsonSubject()


class LooseJson(PlainJson):
    """Lets the first malformed record end the batch."""

    def decode(self, raws: Any) -> tuple[list[Any], dict[int, Reject]]:
        return [msgspec.json.decode(raw) for raw in raws], {}


class LooseSubject(CodecSubject):
    def make(self) -> Codec:
        return LooseJson()


class Patient:
    def decide(self, failure: Failure) -> Verdict | None:
        permanent = isinstance(failure.error, Rejected | Misconfigured)
        return None if permanent else Retry(1.0) if failure.attempt < 5 else None


class Counting(Patient):
    """Remembers what it should read from the failure."""

    def __init__(self) -> None:
        self.calls = 0

    def decide(self, failure: Failure) -> Verdict | None:
        self.calls += 1
        return Retry(self.calls)


class PolicyOf(PolicySubject):
    def __init__(self, kind: type[Patient]) -> None:
        self.kind = kind

    def make(self) -> Policy:
        return self.kind()


class FatalLeft(Patient):
    def decide(self, failure: Failure) -> Verdict | None:
        return super().decide(failure) if isinstance(failure.error, OSError) else None


class TestPolicy(PolicyContract):
    @pytest.fixture
    def subject(self) -> PolicyOf:
        return PolicyOf(FatalLeft)


async def test_a_sink_that_loses_a_row_fails() -> None:
    with pytest.raises(AssertionError):
        await SinkContract().test_returns_when_every_row_is_stored(MemorySinkSubject(ForgetfulSink))


async def test_a_source_that_resumes_too_early_fails() -> None:
    subject = MemorySourceSubject(RepeatingSource)
    with pytest.raises(AssertionError):
        await SourceContract().test_resumes_at_the_end(subject)


async def test_a_step_that_changes_its_input_fails() -> None:
    def mutate(event: Any) -> Any:
        event["seen"] = True
        return event

    with pytest.raises(AssertionError):
        await StepContract().test_input_is_never_changed(FunctionSubject(mutate))


async def test_a_step_that_forgets_its_state_fails() -> None:
    with pytest.raises(AssertionError):
        await StepContract().test_state_survives_a_restart(CountSubject(AmnesicCount), 10)


async def test_a_codec_that_raises_on_a_bad_record_fails() -> None:
    with pytest.raises(msgspec.DecodeError):
        await CodecContract().test_malformed_records_are_rejected(LooseSubject())


def test_a_policy_with_a_memory_fails() -> None:
    with pytest.raises(AssertionError):
        PolicyContract().test_same_failure_same_verdict(PolicyOf(Counting))
