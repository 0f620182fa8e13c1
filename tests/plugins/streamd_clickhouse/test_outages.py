"""A server that stops, dies, hangs and comes back."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from streamd.api import Batch, Duration, Retryable, StreamdError
from streamd.testing.batches import batch_of, sample_event
from streamd_clickhouse.sink import ClickHouseSink
from tests.plugins.streamd_clickhouse.helpers import ids_in, sink_on
from tests.services.clickhouse import ClickHouseServer


@pytest.fixture
def server(private_clickhouse: ClickHouseServer) -> Iterator[ClickHouseServer]:
    yield private_clickhouse
    private_clickhouse.resume()


def large(first: int, rows: int = 20_000) -> Batch:
    """More than the sockets' buffers take."""
    events = [sample_event(first + number, "x" * 1000) for number in range(rows)]
    return batch_of(events, first=first, raws=[b""] * rows)


def restart(server: ClickHouseServer) -> None:
    server.kill()
    server.start()


async def until_stored(sink: ClickHouseSink, batch: Batch) -> list[StreamdError]:
    """Write as the engine does; the errors on the way."""
    errors: list[StreamdError] = []
    with anyio.fail_after(30):
        while True:
            try:
                await sink.write(batch)
            except Retryable as error:
                errors.append(error)
                await anyio.sleep(0.1)
            else:
                return errors


async def test_a_server_that_goes_and_comes_back(server: ClickHouseServer) -> None:
    async with sink_on(server) as sink:
        await sink.write(batch_of([sample_event(1)]))
        await anyio.to_thread.run_sync(server.kill)
        for _ in range(3):
            with pytest.raises(Retryable, match=str(server.port)):
                await sink.write(batch_of([sample_event(2)]))
        await anyio.to_thread.run_sync(server.start)
        await sink.write(batch_of([sample_event(2)]))
    assert ids_in(server)[-1] == "evt_2"


@pytest.mark.parametrize("plain", [False, True])
async def test_a_restart_between_two_writes(server: ClickHouseServer, plain: bool) -> None:
    """The library connects again by itself; once its flag for an open answer misled us then."""
    async with sink_on(server) as sink:
        sink._client._native = not plain
        await sink.write(batch_of([sample_event(1)]))
        await anyio.to_thread.run_sync(restart, server)
        await sink.write(batch_of([sample_event(2)]))
        assert ids_in(server)[-1] == "evt_2"


async def test_killed_in_the_midst_of_inserts(server: ClickHouseServer) -> None:
    """Whatever was confirmed is there; what was not is there after it was tried again."""
    failed: list[Any] = []
    async with sink_on(server) as sink, anyio.create_task_group() as group:
        for first in range(0, 60_000, 5000):
            if first == 30_000:
                group.start_soon(anyio.to_thread.run_sync, restart, server)
            failed += await until_stored(sink, large(first, 5000))
    assert failed
    assert set(ids_in(server)) >= {f"evt_{number}" for number in range(30_000, 60_000)}


@pytest.mark.parametrize("rows", [10, 20_000])
async def test_a_server_that_hangs(server: ClickHouseServer, rows: int) -> None:
    """The write gives up at its time limit, though the socket cannot even be emptied."""
    async with sink_on(server, timeout=Duration("1s")) as sink:
        await sink.write(batch_of([sample_event(0)]))
        server.pause()
        with anyio.fail_after(10):
            with pytest.raises(Retryable, match="within 1 s"):
                await sink.write(large(1, rows))
            with pytest.raises(Retryable):
                await sink.write(large(1, rows))
        server.resume()
        await until_stored(sink, large(1, rows))
    assert set(ids_in(server)) == {f"evt_{number}" for number in range(rows + 1)}


async def test_cancelled_while_the_server_hangs(server: ClickHouseServer) -> None:
    """The cancellation waits for the time limit, and the next write works."""
    async with sink_on(server, timeout=Duration("1s")) as sink:
        server.pause()
        with anyio.move_on_after(0.2) as scope, suppress(Retryable):
            await sink.write(large(0))
        assert scope.cancel_called
        server.resume()
        await until_stored(sink, large(0))
    assert set(ids_in(server)) == {f"evt_{number}" for number in range(20_000)}


async def test_leaving_a_sink_whose_server_hangs(server: ClickHouseServer) -> None:
    with anyio.fail_after(20):
        async with sink_on(server, timeout=Duration("1s")) as sink:
            await sink.write(batch_of([sample_event(0)]))
            server.pause()
            with pytest.raises(Retryable):
                await sink.write(large(1))


async def test_a_full_table_is_retried(server: ClickHouseServer) -> None:
    """Too many parts is a reason to wait, not a fault of the rows."""
    server.query("CREATE DATABASE wotr")
    server.query(
        "CREATE TABLE wotr.ingested_data (id String, timestamp String, payload String,"
        " event_type String, source String, validation_status String) ENGINE = MergeTree"
        " ORDER BY id SETTINGS parts_to_throw_insert = 1, parts_to_delay_insert = 1"
    )
    server.query("SYSTEM STOP MERGES")
    async with sink_on(server, create_table=False) as sink:
        await sink.write(batch_of([sample_event(1)]))
        with pytest.raises(Retryable, match="252"):
            await sink.write(batch_of([sample_event(2)]))


async def test_a_query_over_the_memory_limit_is_retried(server: ClickHouseServer) -> None:
    async with sink_on(server, settings={"max_memory_usage": 16_000_000}) as sink:
        with pytest.raises(Retryable):  # the server may hang up before its answer is read
            await sink.write(large(0))
        await sink.write(batch_of([sample_event(1)]))
    assert ids_in(server) == ["evt_1"]
