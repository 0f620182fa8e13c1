"""The connection to a real ClickHouse server: changes under way, cancellation, fallbacks."""

import asyncio

import anyio
import msgspec
import pytest
import structlog

from streamd.api import Misconfigured, Permanent, Retryable, Secret
from streamd.testing import stage_context
from streamd.testing.batches import batch_of, sample_event
from streamd_clickhouse.config import ClickHouseConfig
from streamd_clickhouse.sink import ClickHouseSink
from tests.plugins.streamd_clickhouse.helpers import ids_in, sink_on, use
from tests.services.clickhouse import ClickHouseServer


@pytest.fixture(params=["fast", "plain"])
def plain(request: pytest.FixtureRequest) -> bool:
    """Whether the library's own encoder is used."""
    return bool(request.param == "plain")


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
