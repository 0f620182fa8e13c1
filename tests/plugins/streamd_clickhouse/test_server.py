"""The sink on a real ClickHouse server."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import anyio
import msgspec
import pytest
import structlog

from streamd.api import Duration, Misconfigured, Permanent, Rejected, Retryable, Secret
from streamd.testing import stage_context
from streamd.testing.batches import batch_of, sample_event
from streamd.testing.contracts.sink import SinkContract, SinkSubject
from streamd_clickhouse.config import ClickHouseConfig
from streamd_clickhouse.sink import ClickHouseSink
from streamd_columns import ColumnDef
from tests.plugins.streamd_clickhouse.helpers import ids_in, sink_on
from tests.services.clickhouse import ClickHouseServer


class Payload(msgspec.Struct):
    event_type: str
    source: str


class Event(msgspec.Struct):
    id: str
    timestamp: str
    payload: Payload


class Subject(SinkSubject):
    def __init__(self, server: ClickHouseServer, database: str, compression: str) -> None:
        self.server, self.database, self.compression = server, database, compression

    def make(self) -> ClickHouseSink:
        return sink_on(self.server, self.database, compression=self.compression)

    async def stored(self) -> list[Any]:
        rows = self.server.query(
            f"SELECT id, timestamp, payload FROM {self.database}.ingested_data"
        )
        return [{**row, "payload": msgspec.json.decode(row["payload"])} for row in rows]

    def poison(self, number: int) -> Any:
        return {**sample_event(number), "id": number}


class TestContract(SinkContract):
    @pytest.fixture(params=["none", "lz4", "zstd"])
    def subject(
        self,
        clickhouse: ClickHouseServer,
        clickhouse_database: str,
        request: pytest.FixtureRequest,
    ) -> SinkSubject:
        return Subject(clickhouse, clickhouse_database, request.param)


@pytest.fixture
def database(clickhouse: ClickHouseServer) -> Iterator[str]:
    """A name of a database that does not exist."""
    name = f"new_{uuid.uuid4().hex[:12]}"
    yield name
    clickhouse.query(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture(params=["fast", "plain"])
def plain(request: pytest.FixtureRequest) -> bool:
    """Whether the library's own encoder is used."""
    return bool(request.param == "plain")


def use(sink: ClickHouseSink, plain: bool) -> None:
    sink._client._native = not plain


async def test_creates_database_and_table(
    clickhouse: ClickHouseServer, database: str, plain: bool
) -> None:
    sink = sink_on(clickhouse, database)
    assert (
        await sink.healthcheck() == f"ClickHouse 18.16.1, {database}.ingested_data will be created"
    )
    async with sink:
        use(sink, plain)
        await sink.write(batch_of([sample_event(1), Event("e2", "now", Payload("a", "b"))]))
    rows = clickhouse.query(f"SELECT * FROM {database}.ingested_data ORDER BY id")
    assert all(row.pop("created_at") > "2020" for row in rows)
    assert rows == [
        {
            "id": "e2",
            "timestamp": "now",
            "payload": '{"event_type":"a","source":"b"}',
            "event_type": "a",
            "source": "b",
            "validation_status": "valid",
        },
        {
            "id": "evt_1",
            "timestamp": "2025-11-19T10:30:00Z",
            "payload": msgspec.json.encode(sample_event(1)["payload"]).decode(),
            "event_type": "user_action",
            "source": "web_app",
            "validation_status": "valid",
        },
    ]
    assert await sink.healthcheck() == f"ClickHouse 18.16.1, {database}.ingested_data, 6 columns"


ALL_TYPES: dict[str, tuple[str, Any, Any]] = {
    "i8": ("Int8", -128, -128),
    "u64": ("UInt64", 2**64 - 1, 2**64 - 1),
    "f64": ("Float64", 0.1, 0.1),
    "f32": ("Float32", 0.5, 0.5),
    "flag": ("UInt8", True, 1),
    "s": ("String", "süß", "süß"),
    "fixed": ("FixedString(4)", "abcd", "abcd"),
    "u": ("UUID", "123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
    "d": ("Date", "2025-11-19", "2025-11-19"),
    "t": ("DateTime", "2025-11-19T12:30:00+02:00", "2025-11-19 10:30:00"),
    "e": ("Enum8('a' = 1, 'b' = -2)", "b", "b"),
    "dec": ("Decimal(18, 3)", 12.125, 12.125),
    "no": ("Nullable(Int32)", None, None),
    "yes": ("Nullable(Int32)", 5, 5),
    "arr": ("Array(Array(String))", [["a"], []], [["a"], []]),
    "nulls": ("Array(Nullable(Int8))", [1, None], [1, None]),
    "low": ("LowCardinality(String)", "x", "x"),
}


async def test_every_type_of_this_server(
    clickhouse: ClickHouseServer, database: str, plain: bool
) -> None:
    columns: dict[str, str | ColumnDef] = {
        name: ColumnDef(name, kind) for name, (kind, _, _) in ALL_TYPES.items()
    }
    columns |= {"partition": "@partition", "offset": "@offset", "at": "@timestamp", "raw": "@raw"}
    settings = {"allow_experimental_low_cardinality_type": 1}
    sink = sink_on(clickhouse, database, columns=columns, order_by="offset", settings=settings)
    event = {name: value for name, (_, value, _) in ALL_TYPES.items()}
    async with sink:
        use(sink, plain)
        await sink.write(batch_of([event, {}], first=7, raws=[b"\x01", b"{}"]))
    full, empty = clickhouse.query(f"SELECT * FROM {database}.ingested_data ORDER BY offset")
    assert {name: full[name] for name in ALL_TYPES} == {
        name: seen for name, (_, _, seen) in ALL_TYPES.items()
    }
    assert (full["partition"], full["offset"], full["raw"]) == ("events:0", 7, "\x01")
    assert full["at"] == "2025-11-19 10:30:07"
    assert (empty["i8"], empty["s"], empty["arr"], empty["e"]) == (0, "", [], "b")
    assert empty["yes"] is None


async def test_a_column_of_the_server_keeps_its_default(
    clickhouse: ClickHouseServer, clickhouse_database: str
) -> None:
    table = f"{clickhouse_database}.t"
    clickhouse.query(
        f"CREATE TABLE {table} (id String, n Int32, m Int32 DEFAULT n * 2, x Int32 MATERIALIZED 1)"
        " ENGINE = Memory"
    )
    sink = sink_on(
        clickhouse, "other", table=table, create_table=False, columns={"id": "id", "n": "n"}
    )
    async with sink:
        await sink.write(batch_of([{"id": "a", "n": 4}]))
    assert clickhouse.query(f"SELECT * FROM {table}") == [{"id": "a", "n": 4, "m": 8}]


async def test_rows_that_do_not_fit_are_named_and_the_others_stored(
    clickhouse: ClickHouseServer, clickhouse_database: str, plain: bool
) -> None:
    events = [sample_event(number) for number in range(10_000)]
    events[4321] = {**events[4321], "timestamp": 5}
    async with sink_on(clickhouse, clickhouse_database) as sink:
        use(sink, plain)
        with pytest.raises(Rejected) as caught:
            await sink.write(batch_of(events, raws=[b""] * 10_000))
    assert list(caught.value.rows) == [4321]
    assert "column timestamp (String)" in caught.value.rows[4321].message
    stored = ids_in(clickhouse, clickhouse_database)
    assert len(stored) == 9999
    assert "evt_4321" not in stored


async def test_a_row_that_only_the_server_refuses_can_be_found_by_halving(
    clickhouse: ClickHouseServer, clickhouse_database: str, plain: bool
) -> None:
    """A materialized view that fails on one row: the error names no row."""
    clickhouse.query(
        f"CREATE TABLE {clickhouse_database}.ingested_data (id String) ENGINE = Memory"
    )
    clickhouse.query(
        f"CREATE MATERIALIZED VIEW {clickhouse_database}.numbers ENGINE = Memory AS"
        f" SELECT toUInt32(id) AS n FROM {clickhouse_database}.ingested_data"
    )
    sink = sink_on(clickhouse, clickhouse_database, columns={"id": "id"}, create_table=False)
    async with sink:
        use(sink, plain)
        with pytest.raises(Permanent, match="ClickHouse error"):
            await sink.write(batch_of([{"id": "1"}, {"id": "x"}]))
        await sink.write(batch_of([{"id": "2"}]))
    assert "2" in ids_in(clickhouse, clickhouse_database)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"table": "default.nothing", "create_table": False}, "ClickHouse error 60"),
        ({"table": "system.one", "create_table": False}, "not the default table"),
        ({"table": "nodb.t", "create_table": False}, "ClickHouse error 81"),
        ({"user": "nobody"}, "ClickHouse error 192"),
        ({"password": Secret("hunter2")}, "ClickHouse error 193"),
        ({"async_insert": True}, r"18\.16\.1 has no async_insert"),
        ({"settings": {"max_thread": 1}}, "has no setting max_thread"),
        ({"settings": {"insert_sample_with_metadata": 1}}, "cannot be sent to ClickHouse 18"),
        ({"engine": "Mergetree()"}, "ClickHouse error 56"),
        ({"columns": {"a": ColumnDef("a", "Strin")}}, "ClickHouse error 50"),
        ({"columns": {"a": ColumnDef("a", "DateTime64(3)")}}, "ClickHouse error 50"),
    ],
)
async def test_what_a_person_has_to_mend(
    clickhouse: ClickHouseServer, database: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(Misconfigured, match=message) as caught:
        async with sink_on(clickhouse, database, **changes):
            pass
    assert "hunter2" not in str(caught.value)


async def test_the_http_port(clickhouse: ClickHouseServer) -> None:
    """It does not answer a greeting in the native protocol."""
    config = ClickHouseConfig(
        url=Secret(f"clickhouse://127.0.0.1:{clickhouse.http_port}"),
        table="t",
        connect_timeout=Duration("300ms"),
    )
    with pytest.raises(Retryable, match="native port"):
        await ClickHouseSink(config, stage_context("sink")).healthcheck()


async def test_nobody_listens() -> None:
    config = ClickHouseConfig(url=Secret("clickhouse://127.0.0.1:1"), table="t")
    with pytest.raises(Retryable, match=r"127\.0\.0\.1:1"):
        await ClickHouseSink(config, stage_context("sink")).healthcheck()


async def test_a_table_that_goes_and_comes_back(
    clickhouse: ClickHouseServer, clickhouse_database: str, plain: bool
) -> None:
    async with sink_on(clickhouse, clickhouse_database) as sink:
        use(sink, plain)
        await sink.write(batch_of([sample_event(1)]))
        clickhouse.query(f"DROP TABLE {clickhouse_database}.ingested_data")
        with pytest.raises(Misconfigured, match="60"):
            await sink.write(batch_of([sample_event(2)]))
        await sink.write(batch_of([sample_event(2)]))
    assert ids_in(clickhouse, clickhouse_database) == ["evt_2"]


async def test_a_column_that_changes_its_type(
    clickhouse: ClickHouseServer, clickhouse_database: str
) -> None:
    table = f"{clickhouse_database}.t"
    clickhouse.query(f"CREATE TABLE {table} (id String, n Int32) ENGINE = MergeTree ORDER BY id")
    sink = sink_on(clickhouse, clickhouse_database, table="t", columns={"id": "id", "n": "n"})
    async with sink:
        await sink.write(batch_of([{"id": "a", "n": 1}]))
        clickhouse.query(f"ALTER TABLE {table} MODIFY COLUMN n Int64")
        with pytest.raises(Retryable, match="have changed"):
            await sink.write(batch_of([{"id": "b", "n": 2}]))
        await sink.write(batch_of([{"id": "b", "n": 2}]))
    assert clickhouse.query(f"SELECT n FROM {table} ORDER BY id") == [{"n": 1}, {"n": 2}]


async def test_server_logs_do_not_hide_a_failed_insert(
    clickhouse: ClickHouseServer, clickhouse_database: str, plain: bool
) -> None:
    """With log packets in front of its exception a failed insert once looked stored."""
    clickhouse.query(
        f"CREATE TABLE {clickhouse_database}.ingested_data (id String) ENGINE = Memory"
    )
    clickhouse.query(
        f"CREATE MATERIALIZED VIEW {clickhouse_database}.numbers ENGINE = Memory AS"
        f" SELECT toUInt32(id) AS n FROM {clickhouse_database}.ingested_data"
    )
    sink = sink_on(clickhouse, clickhouse_database, columns={"id": "id"}, create_table=False)
    async with sink:
        use(sink, plain)
        sink._settings["send_logs_level"] = "trace"
        error = Retryable if plain else Permanent  # the plain way sees that it failed, not why
        with pytest.raises(error):
            await sink.write(batch_of([{"id": "x"}]))
        await sink.write(batch_of([{"id": "5"}]))


async def test_without_its_private_names_the_library_encodes(
    clickhouse: ClickHouseServer, clickhouse_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamd_clickhouse import native

    monkeypatch.setattr(native, "_USED", ("send_query", "renamed_upstream"))
    with structlog.testing.capture_logs() as logs:
        async with sink_on(clickhouse, clickhouse_database) as sink:
            await sink.write(batch_of([sample_event(1)]))
    assert ids_in(clickhouse, clickhouse_database) == ["evt_1"]
    assert [line["no"] for line in logs if line["log_level"] == "warning"] == ["renamed_upstream"]


async def test_a_fast_insert_that_breaks_gives_way(
    clickhouse: ClickHouseServer, clickhouse_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamd_clickhouse import native

    async def broken(*_: object) -> None:
        raise TypeError("send_block() takes 3 arguments")

    monkeypatch.setattr(native, "insert", broken)
    async with sink_on(clickhouse, clickhouse_database) as sink:
        with pytest.raises(Retryable):
            await sink.write(batch_of([sample_event(1)]))
        await sink.write(batch_of([sample_event(1)]))
    assert ids_in(clickhouse, clickhouse_database) == ["evt_1"]


async def test_types_that_the_server_spells_in_two_ways(
    clickhouse: ClickHouseServer, clickhouse_database: str
) -> None:
    async with sink_on(clickhouse, clickhouse_database) as sink:
        first, *others = sink._columns
        sink._columns = (msgspec.structs.replace(first, spelling="Text"), *others)
        with pytest.raises(Retryable, match="have changed"):
            await sink.write(batch_of([sample_event(1)]))
        await sink.write(batch_of([sample_event(1)]))
    assert ids_in(clickhouse, clickhouse_database) == ["evt_1"]


async def test_a_stray_cancellation_of_the_library_is_an_error(
    clickhouse: ClickHouseServer, clickhouse_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CancelledError that nobody asked for would end a task without a word."""
    from streamd_clickhouse import native

    async def stray(*_: object) -> None:
        raise asyncio.CancelledError

    async with sink_on(clickhouse, clickhouse_database) as sink:
        with monkeypatch.context() as patch:
            patch.setattr(native, "insert", stray)
            with pytest.raises(Retryable, match="CancelledError"):
                await sink.write(batch_of([sample_event(1)]))
        await sink.write(batch_of([sample_event(1)]))
    assert ids_in(clickhouse, clickhouse_database) == ["evt_1"]


async def test_a_cancelled_task_stays_cancelled(
    clickhouse: ClickHouseServer, clickhouse_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamd_clickhouse import native

    started = anyio.Event()

    async def hang(*_: object) -> None:
        started.set()
        await anyio.sleep_forever()

    async with sink_on(clickhouse, clickhouse_database) as sink:
        with monkeypatch.context() as patch:
            patch.setattr(native, "insert", hang)
            task = asyncio.create_task(sink.write(batch_of([sample_event(1)])))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await sink.write(batch_of([sample_event(1)]))
    assert ids_in(clickhouse, clickhouse_database) == ["evt_1"]


async def test_large_batches_and_compression(
    clickhouse: ClickHouseServer, clickhouse_database: str
) -> None:
    events = [sample_event(number, "x" * (number % 3000)) for number in range(8000)]
    for compression in ("none", "lz4", "zstd"):
        async with sink_on(clickhouse, clickhouse_database, compression=compression) as sink:
            await sink.write(batch_of(events, raws=[b""] * 8000))
    rows = clickhouse.query(
        "SELECT id, count() AS n, uniq(payload) AS payloads"
        f" FROM {clickhouse_database}.ingested_data GROUP BY id HAVING n != 3 OR payloads != 1"
    )
    assert rows == []
    assert len(ids_in(clickhouse, clickhouse_database)) == 24_000


async def test_one_insert_is_one_part(
    clickhouse: ClickHouseServer, clickhouse_database: str
) -> None:
    """So that it is stored as a whole or not at all."""
    events = [sample_event(number) for number in range(20_000)]
    async with sink_on(clickhouse, clickhouse_database) as sink:
        await sink.write(batch_of(events, raws=[b""] * 20_000))
    rows = clickhouse.query(
        f"SELECT count() AS parts FROM system.parts WHERE database = '{clickhouse_database}'"
    )
    assert rows == [{"parts": 1}]


@pytest.mark.parametrize("turns", [1, 5, 9, 11, 12, 13, 14, 15, 20, 30])
async def test_a_cancelled_write_does_not_spoil_the_next(
    clickhouse: ClickHouseServer, clickhouse_database: str, turns: int
) -> None:
    events = [sample_event(number) for number in range(20_000)]
    async with sink_on(clickhouse, clickhouse_database) as sink:
        async with anyio.create_task_group() as group:
            group.start_soon(sink.write, batch_of(events, raws=[b""] * 20_000))
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        await sink.write(batch_of([sample_event(99_999)]))
    stored = ids_in(clickhouse, clickhouse_database)
    assert "evt_99999" in stored
    assert len(stored) in (1, 20_001)
