"""The sink on a real ClickHouse server."""

import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from streamd.api import Duration, Misconfigured, Permanent, Rejected, Retryable, Secret
from streamd.testing import stage_context
from streamd.testing.batches import batch_of, sample_event
from streamd.testing.contracts.sink import SinkContract, SinkSubject
from streamd_clickhouse.config import ClickHouseConfig
from streamd_clickhouse.sink import ClickHouseSink
from streamd_columns import ColumnDef
from tests.plugins.streamd_clickhouse.helpers import ids_in, sink_on, use
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
