"""The floor: each job written straight on the libraries, as fast as their public ways allow.

No retries, no checkpoints, no dead letters: what a script would do that may lose events.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from asynch.connection import Connection

from benchmarks.jobs import Job

Report = dict[str, float]


class Payload(msgspec.Struct, gc=False):
    """The rules of the event as far as msgspec states them."""

    event_type: Literal["user_action", "system_event", "api_call", "error", "metric"]
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    user_id: Annotated[str, msgspec.Meta(max_length=50)] | None = None
    session_id: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    ip_address: str | None = None
    data: dict[str, Any] | None = None
    tags: (
        Annotated[
            list[Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9]+$")]],
            msgspec.Meta(max_length=10),
        ]
        | None
    ) = None
    version: Annotated[str, msgspec.Meta(pattern=r"^\d+\.\d+$")] | None = None


class Event(msgspec.Struct, gc=False):
    id: str
    timestamp: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT")]
    payload: Payload


_IPV4 = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
_known_addresses: set[str] = set()


def check_address(text: str) -> None:
    """The one rule that msgspec has no word for; addresses repeat, so each is parsed once."""
    if text not in _known_addresses:
        ipaddress.IPv4Address(text)
        _known_addresses.add(text)


async def run(job: Job, events: int, places: dict[str, str]) -> Report:
    """Do the job for so many events; seconds of CPU and wall from the first batch on."""
    consumer = AIOKafkaConsumer(
        places["topic"],
        bootstrap_servers=places["bootstrap"],
        group_id=places["group"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    finish: Callable[[], Awaitable[None]] | None = None
    if job == "clickhouse":
        handle, finish = await _inserter(places)
    else:
        handle = _decoder(dict if job == "consume" else Event)
    try:
        return await _loop(consumer, events, handle, finish)
    finally:
        await consumer.stop()


async def _loop(
    consumer: Any, events: int, handle: Any, finish: Callable[[], Awaitable[None]] | None
) -> Report:
    seen, cpu, wall = 0, 0.0, 0.0
    while seen < events:
        batches: dict[TopicPartition, list[Any]] = await consumer.getmany(
            timeout_ms=1000, max_records=1000
        )
        if batches and not wall:
            cpu, wall = time.process_time(), time.perf_counter()
        for records in batches.values():
            seen += len(records)
            await handle([record.value for record in records])
    if finish is not None:
        await finish()
    return {
        "events": seen,
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
    }


def _decoder(form: Any) -> Any:
    decode = msgspec.json.Decoder(form).decode

    async def handle(raws: list[bytes]) -> None:
        values = [decode(raw) for raw in raws]
        if form is Event:
            for value in values:
                check_address(value.payload.ip_address or "0.0.0.0")

    return handle


async def _inserter(places: dict[str, str]) -> tuple[Any, Callable[[], Awaitable[None]]]:
    decode = msgspec.json.Decoder(Event).decode
    encode = msgspec.json.encode
    connection = Connection(dsn=places["clickhouse"])
    await connection.connect()
    table = places["table"]
    async with connection.cursor() as cursor:
        await cursor.execute(
            f"CREATE TABLE {table} (id String, timestamp String, payload String,"
            " event_type String, source String, validation_status String,"
            " created_at DateTime DEFAULT now()) ENGINE = MergeTree()"
            " ORDER BY (event_type, created_at, id) PARTITION BY toYYYYMM(created_at)"
        )
    sql = (
        f"INSERT INTO {table}"
        " (id, timestamp, payload, event_type, source, validation_status) VALUES"
    )
    waiting: list[Event] = []

    async def flush() -> None:
        if not waiting:
            return
        columns = [
            [event.id for event in waiting],
            [event.timestamp for event in waiting],
            [encode(event.payload) for event in waiting],
            [event.payload.event_type for event in waiting],
            [event.payload.source for event in waiting],
            ["valid"] * len(waiting),
        ]
        await connection._connection.execute(sql, columns, columnar=True)
        waiting.clear()

    async def handle(raws: list[bytes]) -> None:
        values = [decode(raw) for raw in raws]
        for value in values:
            check_address(value.payload.ip_address or "0.0.0.0")
        waiting.extend(values)
        if len(waiting) >= 50_000:
            await flush()

    async def finish() -> None:
        await flush()
        await connection.close()

    return handle, finish
