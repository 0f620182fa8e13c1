"""What every validator, transform and window does.

class TestMyStep(StepContract):
    @pytest.fixture
    def subject(self) -> MySubject: ...
"""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import pytest

from streamd.api import Batch, Reject, Rejects, Stateful, Step, Timed, merge
from streamd.testing.batches import COLUMNS, batch_of, sample_event

PARTITIONS = ("events:0", "events:1")
ODD_EVENTS: tuple[Any, ...] = (
    None,
    True,
    0,
    -1.5,
    2**70,
    "",
    "text",
    [],
    [1, [2, [3]]],
    {},
    {"id": None},
    {"payload": []},
    {"payload": {"data": {"a": {"b": {"c": [None]}}}}},
    {"": {"": ""}},
    {"id": "\x00", "timestamp": "not a time", "payload": "x"},
)


class StepSubject(ABC):
    """How to build the step, and events for it.

    - `per_event`: what comes of an event does not depend on how the stream is cut into batches.
    """

    per_event: bool = True

    @abstractmethod
    def make(self) -> Step:
        """A new step, always with the same settings, not entered."""

    def event(self, number: int) -> Any:
        """An event that the step takes."""
        return sample_event(number)

    def batch(self, first: int, count: int, partition: str = PARTITIONS[0]) -> Batch:
        """Events `first` up to `first + count` of the stream, as one batch."""
        events = [self.event(number) for number in range(first, first + count)]
        return batch_of(events, first=first, partition=partition)


class StepContract:
    """Inherit it and give the fixture `subject`."""

    @pytest.fixture
    def subject(self) -> StepSubject:
        raise NotImplementedError("override the fixture `subject`")

    async def test_input_is_never_changed(self, subject: StepSubject) -> None:
        batch = subject.batch(0, 20)
        before = copy.deepcopy([getattr(batch, name) for name in COLUMNS])
        async with _opened(subject) as step:
            await run(step, batch)
        assert [getattr(batch, name) for name in COLUMNS] == before

    async def test_every_row_has_an_origin(self, subject: StepSubject) -> None:
        batch = merge([subject.batch(0, 10), subject.batch(50, 10, PARTITIONS[1])])
        origins = {batch.locate(row) for row in range(len(batch))}
        async with _opened(subject) as step:
            for result in await run(step, batch):
                if isinstance(result, Batch):
                    _is_consistent(result)
                    for row in range(len(result)):
                        partition, offset = result.locate(row)
                        # Rows that a step has made itself: "<stage>:<source partition>".
                        derived = any(partition.endswith(f":{known}") for known in PARTITIONS)
                        assert derived or (partition, offset) in origins

    async def test_rejects_name_rows_of_the_input(self, subject: StepSubject) -> None:
        batch = batch_of([*ODD_EVENTS, *subject.batch(0, 3).values])
        async with _opened(subject) as step:
            results = await run(step, batch)
        rejected = rejected_rows(results)
        assert len(rejected) == len(set(rejected)), "a row is rejected once"
        assert set(rejected) <= set(range(len(batch)))
        passed = {where for where, _, _ in flatten(results)}
        assert passed.isdisjoint(batch.locate(row) for row in rejected)

    async def test_odd_events_never_raise(self, subject: StepSubject) -> None:
        async with _opened(subject) as step:
            for number, event in enumerate(ODD_EVENTS):
                await run(step, batch_of([event], first=number))

    async def test_odd_events_do_not_touch_the_others(self, subject: StepSubject) -> None:
        if not subject.per_event:
            pytest.skip("what comes of an event depends on its batch")
        good = subject.batch(0, 5)
        mixed = batch_of([*good.values, *ODD_EVENTS], timestamps=_timestamps(good, len(ODD_EVENTS)))
        async with _opened(subject) as step:
            alone = flatten(await run(step, good))
        async with _opened(subject) as step:
            together = flatten(await run(step, mixed))
        assert [row for row in together if row[0][1] < 5] == alone

    async def test_empty_batch_is_harmless(self, subject: StepSubject) -> None:
        async with _opened(subject) as step:
            assert flatten(await run(step, subject.batch(0, 0))) == []

    async def test_same_input_same_output(self, subject: StepSubject) -> None:
        outputs = []
        for _ in range(2):
            async with _opened(subject) as step:
                outputs.append(await run(step, subject.batch(0, 30)))
        assert flatten(outputs[0]) == flatten(outputs[1])
        assert rejected_rows(outputs[0]) == rejected_rows(outputs[1])

    async def test_batches_may_be_cut_anywhere(self, subject: StepSubject) -> None:
        if not subject.per_event:
            pytest.skip("what comes of an event depends on its batch")
        async with _opened(subject) as step:
            whole = flatten(await run(step, subject.batch(0, 30)))
        async with _opened(subject) as step:
            pieces = []
            for first, count in ((0, 1), (1, 10), (11, 2), (13, 17)):
                pieces += flatten(await run(step, subject.batch(first, count)))
        assert sorted(pieces, key=repr) == sorted(whole, key=repr)

    async def test_opens_again_after_exit(self, subject: StepSubject) -> None:
        for _ in range(2):
            async with _opened(subject) as step:
                await run(step, subject.batch(0, 3))

    async def test_changes_are_bytes_of_our_partitions(self, subject: StepSubject) -> None:
        async with _opened(subject) as step:
            stateful = _stateful(step)
            await run(step, subject.batch(0, 20))
            for partition, key, value in stateful.take_changes():
                assert partition in PARTITIONS
                assert isinstance(key, bytes)
                assert value is None or isinstance(value, bytes)
            assert list(stateful.take_changes()) == [], "only what has changed since"

    @pytest.mark.parametrize("cut", [1, 10, 19])
    async def test_state_survives_a_restart(self, subject: StepSubject, cut: int) -> None:
        stored: dict[tuple[str, bytes], bytes] = {}
        async with _opened(subject) as before:
            for first, count in ((0, cut), (cut, 20 - cut)):
                await run(before, subject.batch(first, count))
                for partition, key, value in _stateful(before).take_changes():
                    if value is None:
                        stored.pop((partition, key), None)
                    else:
                        stored[partition, key] = value
            async with subject.make() as after:
                rows = [(partition, key, value) for (partition, key), value in stored.items()]
                _stateful(after).assign(PARTITIONS, rows)
                for batch in (subject.batch(20, 20), subject.batch(40, 20)):
                    assert flatten(await run(after, batch)) == flatten(await run(before, batch))

    async def test_revoked_partitions_are_forgotten(self, subject: StepSubject) -> None:
        async with _opened(subject) as used, _opened(subject) as fresh:
            stateful = _stateful(used)
            await run(used, subject.batch(0, 20))
            stateful.revoke(PARTITIONS)
            stateful.take_changes()
            stateful.assign(PARTITIONS, [])
            batch = subject.batch(20, 20)
            assert flatten(await run(used, batch)) == flatten(await run(fresh, batch))


class _Opened:
    """A step that is entered and, if it is stateful, has its partitions."""

    def __init__(self, step: Step) -> None:
        self.step = step

    async def __aenter__(self) -> Step:
        step = await self.step.__aenter__()
        if isinstance(step, Stateful):
            step.assign(PARTITIONS, [])
        return step

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        return await self.step.__aexit__(*exc_info)


def _opened(subject: StepSubject) -> _Opened:
    return _Opened(subject.make())


def _stateful(step: Step) -> Stateful:
    if not isinstance(step, Stateful):
        pytest.skip("the step keeps no state")
    return step


async def run(step: Step, batch: Batch) -> list[Batch | Rejects]:
    """What comes of a batch, and of the tick that follows it."""
    produced = step.process(batch)
    results = list(await produced if inspect.isawaitable(produced) else produced)
    if isinstance(step, Timed):
        results += step.tick(1.0)
    return results


def flatten(results: Iterable[Batch | Rejects]) -> list[tuple[tuple[str, int], str | None, Any]]:
    """The rows of all batches, in order: where from, into which stream, the event."""
    return [
        (batch.locate(row), batch.stream, value)
        for batch in results
        if isinstance(batch, Batch)
        for row, value in enumerate(batch.values)
    ]


def rejected_rows(results: Iterable[Batch | Rejects]) -> list[int]:
    rows = [
        item for result in results if isinstance(result, Rejects) for item in result.rows.items()
    ]
    assert all(isinstance(reject, Reject) and reject.message for _, reject in rows)
    return [row for row, _ in rows]


def _is_consistent(batch: Batch) -> None:
    assert sum(span.rows for span in batch.spans) == len(batch)
    assert batch.decoded
    for name in ("timestamps", "raws", "keys", "headers", "statuses"):
        column = getattr(batch, name)
        assert column is None or len(column) == len(batch), name


def _timestamps(good: Batch, more: int) -> list[int]:
    return [*good.timestamps, *([good.timestamps[-1]] * more)]
