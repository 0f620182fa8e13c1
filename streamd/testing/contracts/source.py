"""What every source does.

class TestMySource(SourceContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> MySubject: ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest

from streamd.api import Batch, Bounded, Committed, Control, KeepsAlive, Probe, Source
from streamd.testing.contexts import FakeControl


class SourceSubject(ABC):
    """Where the source reads, empty when a test begins.

    - `live`: events may be fed while a source is open.
    """

    live: bool = True

    @abstractmethod
    def make(self, control: Control) -> Source:
        """A source, not entered. Every call gives a new one that reads from the beginning,
        unless `control` answers with positions."""

    @abstractmethod
    async def feed(self, count: int) -> list[bytes]:
        """Make `count` more events arrive, all different, and return them as the source will
        give them (`Batch.raws`), those of a partition in their order."""


class StrictControl(FakeControl):
    """Remembers which partitions were assigned, to be compared with what poll returns."""

    def __init__(self, positions: Mapping[str, int] | None = None) -> None:
        super().__init__(positions)
        self.assigned_now: set[str] = set()

    async def assigned(self, partitions: Mapping[str, Committed | None]) -> dict[str, int | None]:
        self.assigned_now |= set(partitions)
        return await super().assigned(partitions)


class SourceContract:
    """Inherit it and give the fixture `subject`."""

    @pytest.fixture
    def subject(self) -> SourceSubject:
        raise NotImplementedError("override the fixture `subject`")

    async def test_reads_every_event_once_in_order(self, subject: SourceSubject) -> None:
        fed = await subject.feed(250)
        async with subject.make(StrictControl()) as source:
            batches = await drain(source, 250)
        assert sorted(raws_of(batches)) == sorted(fed)
        place = {raw: at for at, raw in enumerate(fed)}
        for raws in by_partition(batches).values():
            places = [place[raw] for raw in raws]
            assert places == sorted(places)

    async def test_offsets_ascend_and_spans_cover_the_rows(self, subject: SourceSubject) -> None:
        await subject.feed(250)
        async with subject.make(StrictControl()) as source:
            batches = await drain(source, 250, max_events=40)
        reached: dict[str, int] = {}
        for batch in batches:
            assert len(batch.spans) == 1, "one batch per partition"
            span, offsets = batch.spans[0], list(batch.offsets)
            assert span.rows == len(batch) > 0
            assert span.start <= offsets[0]
            assert span.stop > offsets[-1]
            assert reached.get(span.partition, -1) < offsets[0]
            assert all(a < b for a, b in pairwise(offsets))
            reached[span.partition] = span.stop - 1

    async def test_columns_have_equal_length(self, subject: SourceSubject) -> None:
        await subject.feed(20)
        async with subject.make(StrictControl()) as source:
            for batch in await drain(source, 20):
                assert len(batch.timestamps) == len(batch)
                assert all(isinstance(moment, int) for moment in batch.timestamps)
                for column in (batch.raws, batch.keys, batch.headers):
                    assert column is None or len(column) == len(batch)

    async def test_poll_returns_about_what_was_asked(self, subject: SourceSubject) -> None:
        await subject.feed(250)
        async with subject.make(StrictControl()) as source:
            seen = 0
            while seen < 250:
                rows = sum(map(len, await source.poll(20, 0.5)))
                assert rows <= 40
                seen += rows

    async def test_poll_returns_nothing_when_nothing_arrives(self, subject: SourceSubject) -> None:
        await subject.feed(3)
        async with subject.make(StrictControl()) as source:
            await drain(source, 3)
            with anyio.fail_after(30):
                assert await source.poll(100, 0.05) == []
                assert await source.poll(100, 0.0) == []

    async def test_sees_what_arrives_later(self, subject: SourceSubject) -> None:
        if not subject.live:
            pytest.skip("nothing arrives while the source is open")
        first = await subject.feed(5)
        async with subject.make(StrictControl()) as source:
            batches = await drain(source, 5)
            second = await subject.feed(5)
            batches += await drain(source, 5)
        assert sorted(raws_of(batches)) == sorted(first + second)

    async def test_partitions_are_assigned_first(self, subject: SourceSubject) -> None:
        await subject.feed(50)
        control = StrictControl()
        async with subject.make(control) as source:
            seen = 0
            while seen < 50:
                for batch in await source.poll(10, 0.5):
                    assert {span.partition for span in batch.spans} <= control.assigned_now
                    seen += len(batch)

    @pytest.mark.parametrize("before", [1, 100, 199])
    async def test_resumes_with_exactly_the_rest(self, subject: SourceSubject, before: int) -> None:
        fed = await subject.feed(200)
        async with subject.make(StrictControl()) as source:
            if not source.resumes:
                pytest.skip("a position means nothing after a restart")
            read = await drain(source, before, max_events=7)
        async with subject.make(StrictControl(positions_after(read))) as source:
            rest = await drain(source, 200 - len(raws_of(read)))
            assert await source.poll(100, 0.05) == []
        assert sorted(raws_of(read) + raws_of(rest)) == sorted(fed)

    async def test_resumes_at_the_end(self, subject: SourceSubject) -> None:
        await subject.feed(10)
        async with subject.make(StrictControl()) as source:
            if not source.resumes:
                pytest.skip("a position means nothing after a restart")
            read = await drain(source, 10)
        async with subject.make(StrictControl(positions_after(read))) as source:
            assert await source.poll(100, 0.05) == []

    async def test_commit_is_harmless(self, subject: SourceSubject) -> None:
        fed = await subject.feed(100)
        async with subject.make(StrictControl()) as source:
            await source.commit({}, "store:0")
            read = await drain(source, 30, max_events=10)
            positions = positions_after(read)
            await source.commit(positions, "store:1")
            await source.commit(positions, "store:1")
            read += await drain(source, 100 - len(raws_of(read)))
            await source.commit(positions_after(read), "store:2")
        assert sorted(raws_of(read)) == sorted(fed)

    async def test_keepalive_loses_nothing(self, subject: SourceSubject) -> None:
        fed = await subject.feed(100)
        async with subject.make(StrictControl()) as source:
            if not isinstance(source, KeepsAlive):
                pytest.skip("the source needs no keepalive")
            read = await drain(source, 20, max_events=20)
            for _ in range(3):
                await source.keepalive()
            read += await drain(source, 100 - len(raws_of(read)))
        assert sorted(raws_of(read)) == sorted(fed)

    async def test_exhausted_only_when_all_is_read(self, subject: SourceSubject) -> None:
        await subject.feed(20)
        async with subject.make(StrictControl()) as source:
            if not isinstance(source, Bounded):
                pytest.skip("the source has no end")
            assert not source.exhausted()
            await drain(source, 20, max_events=20)
            if not subject.live:
                assert await source.poll(100, 0.05) == []
                assert source.exhausted()

    async def test_exits_after_a_cancelled_poll(self, subject: SourceSubject) -> None:
        fed = await subject.feed(5)
        async with subject.make(StrictControl()) as source:
            await drain(source, 5)
            with anyio.move_on_after(0.02):
                await source.poll(100, 5.0)
        async with subject.make(StrictControl()) as source:
            assert sorted(raws_of(await drain(source, 5))) == sorted(fed)

    async def test_healthcheck_changes_nothing(self, subject: SourceSubject) -> None:
        fed = await subject.feed(5)
        source = subject.make(StrictControl())
        if not isinstance(source, Probe):
            pytest.skip("the source has no healthcheck")
        found = await source.healthcheck()
        assert found
        assert "\n" not in found
        async with subject.make(StrictControl()) as source:
            assert sorted(raws_of(await drain(source, 5))) == sorted(fed)


async def drain(source: Source, count: int, *, max_events: int = 100) -> list[Batch]:
    """Poll until at least `count` events have come."""
    batches: list[Batch] = []
    with anyio.fail_after(60):
        while sum(map(len, batches)) < count:
            batches += await source.poll(max_events, 0.5)
            await anyio.lowlevel.checkpoint()
    return batches


def raws_of(batches: Iterable[Batch]) -> list[bytes]:
    return [raw for batch in batches for raw in batch.raws or () if raw is not None]


def by_partition(batches: Iterable[Batch]) -> dict[str, list[bytes]]:
    rows: dict[str, list[bytes]] = {}
    for batch in batches:
        rows.setdefault(batch.spans[0].partition, []).extend(raws_of([batch]))
    return rows


def positions_after(batches: Iterable[Batch]) -> dict[str, int]:
    """Where a restart would resume after these batches."""
    return {span.partition: span.stop for batch in batches for span in batch.spans}
