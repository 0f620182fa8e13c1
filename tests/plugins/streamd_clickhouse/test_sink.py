"""What the sink does with its connection, shown on a fake one."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from streamd.api import Misconfigured, Rejected, Retryable, Secret
from streamd.testing import stage_context
from streamd.testing.batches import batch_of, sample_event
from streamd_clickhouse.block import Block
from streamd_clickhouse.config import DEFAULT_COLUMNS, ClickHouseConfig
from streamd_clickhouse.server import Server
from streamd_clickhouse.sink import ClickHouseSink

NAMES = [*DEFAULT_COLUMNS, "created_at"]


class FakeClient:
    """Remembers what it is told to do; fails with the errors it is given, one per insert."""

    def __init__(self, *, settings: frozenset[str] = frozenset({"insert_deduplication_token"})):
        self.server = Server((25, 8, 1), settings | {"async_insert"})
        self.encodes = True
        self.is_open = False
        self.columns = NAMES
        self.errors: list[Exception] = []
        self.statements: list[str] = []
        self.inserts: list[tuple[Block, Mapping[str, Any]]] = []

    async def open(self) -> Server:
        self.is_open = True
        return self.server

    async def close(self) -> None:
        self.is_open = False

    async def query(self, statement: str) -> Sequence[Sequence[Any]]:
        self.statements.append(statement)
        return [(name, "String", "", "") for name in self.columns]

    async def insert(self, statement: str, block: Block, settings: Mapping[str, Any]) -> None:
        self.statements.append(statement)
        self.inserts.append((block, settings))
        if self.errors:
            self.is_open = False
            raise self.errors.pop(0)

    @property
    def tokens(self) -> list[Any]:
        return [settings.get("insert_deduplication_token") for _, settings in self.inserts]


class FakedSink(ClickHouseSink):
    def __init__(self, client: FakeClient, **settings: Any) -> None:
        config = ClickHouseConfig(url=Secret("clickhouse://h/d"), table="t", **settings)
        super().__init__(config, stage_context("sink"))
        self.client = client

    def _new_client(self) -> Any:
        return self.client


async def test_an_insert_that_is_tried_again_has_the_same_token() -> None:
    client = FakeClient()
    async with FakedSink(client) as sink:
        batch = batch_of([sample_event(1), sample_event(2)])
        client.errors = [Retryable("connection lost")]
        with pytest.raises(Retryable):
            await sink.write(batch)
        await sink.write(batch)
        await sink.write(batch.take([0]))
        await sink.write(batch_of([sample_event(1), sample_event(2)], first=2))
    first, again, *others = client.tokens
    assert first == again
    assert len({first, *others}) == 3


@pytest.mark.parametrize(
    ("client", "settings"),
    [
        (FakeClient(settings=frozenset()), {}),
        (FakeClient(), {"deduplicate": False}),
        (FakeClient(), {"async_insert": True}),
    ],
)
async def test_no_token_where_it_would_not_work(
    client: FakeClient, settings: dict[str, Any]
) -> None:
    async with FakedSink(client, **settings) as sink:
        await sink.write(batch_of([sample_event(1)]))
    assert client.tokens == [None]


async def test_connects_again_and_looks_again_after_an_error() -> None:
    client = FakeClient()
    client.errors = [Retryable("connection lost")]
    async with FakedSink(client, create_table=True) as sink:
        opened = len(client.statements)
        with pytest.raises(Retryable):
            await sink.write(batch_of([sample_event(1)]))
        await sink.write(batch_of([sample_event(1)]))
        assert len(client.statements) == 2 * opened + 2
        assert client.statements[-2] == "DESCRIBE TABLE d.t"


async def test_nothing_is_written_by_an_old_plan() -> None:
    """The table has changed while the connection was away, and the mapping fits no more."""
    client = FakeClient()
    client.errors = [Retryable("connection lost")]
    async with FakedSink(client) as sink:
        with pytest.raises(Retryable):
            await sink.write(batch_of([sample_event(1)]))
        client.columns = ["other"]
        for _ in range(2):
            with pytest.raises(Misconfigured):
                await sink.write(batch_of([sample_event(1)]))
        client.columns = NAMES
        await sink.write(batch_of([sample_event(1)]))
    assert len(client.inserts) == 2


async def test_a_failed_insert_rejects_nothing() -> None:
    """Rejected says that all other rows are stored: it may not hide that they are not."""
    client = FakeClient()
    client.errors = [Retryable("connection lost")]
    batch = batch_of([sample_event(1), {**sample_event(2), "id": 5}])
    async with FakedSink(client) as sink:
        with pytest.raises(Retryable):
            await sink.write(batch)
        with pytest.raises(Rejected) as caught:
            await sink.write(batch)
    assert list(caught.value.rows) == [1]
    assert [block.rows for block, _ in client.inserts] == [1, 1]


async def test_no_insert_without_a_row() -> None:
    client = FakeClient()
    async with FakedSink(client) as sink:
        with pytest.raises(Rejected):
            await sink.write(batch_of([{"id": 1}, {"id": 2}]))
        await sink.write(batch_of([]))
    assert client.inserts == []


async def test_rejected_rows_keep_their_numbers_across_slices() -> None:
    events = [sample_event(number) for number in range(5000)]
    for row in (0, 1999, 2000, 4999):
        events[row] = {**events[row], "id": row}
    client = FakeClient()
    async with FakedSink(client) as sink:
        with pytest.raises(Rejected) as caught:
            await sink.write(batch_of(events))
    assert list(caught.value.rows) == [0, 1999, 2000, 4999]
    assert client.inserts[0][0].rows == 4996
