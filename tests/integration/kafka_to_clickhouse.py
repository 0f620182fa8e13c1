"""What the tests of the whole way share: the configuration, events, and looking at the result."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import anyio
import msgspec
from aiokafka import AIOKafkaProducer
from anyio import to_thread

from tests.services.clickhouse import ClickHouseServer
from tests.services.kafka import KafkaServer
from tests.services.streamd import Streamd

CONFIGURATION = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"

[pipeline.events]
@options

[pipeline.events.source]
plugin = "kafka"
bootstrap_servers = "@bootstrap"
topics = ["@topic"]
group_id = "@topic"
session_timeout = "6s"
@source

[[pipeline.events.validate]]
plugin = "event"
mode = "@mode"

@policies

[[pipeline.events.sink]]
id = "clickhouse"
plugin = "clickhouse"
url = "@clickhouse"
table = "ingested_data"
create_table = true
batch = { rows = 20000, time = "200ms" }

[[pipeline.events.sink]]
id = "dead"
plugin = "file"
inputs = ["dead_letters"]
"""

COUNTS_OFTEN = {"streamd.engine.backlog._EVERY": 1.0}
"""The patience of a daemon that counts its dead letters every second."""


def daemon(
    folder: Path,
    kafka: KafkaServer,
    clickhouse: ClickHouseServer,
    topic: str,
    database: str,
    *,
    policies: str = "",
    options: str = "",
    source: str = "",
    mode: str = "strict",
) -> Streamd:
    """A daemon that brings a topic into `<database>.ingested_data`."""
    places = {
        "@bootstrap": kafka.bootstrap_servers,
        "@topic": topic,
        "@clickhouse": clickhouse.url_of(database),
        "@policies": policies,
        "@options": options,
        "@source": source,
        "@mode": mode,
    }
    configuration = CONFIGURATION
    for name, value in places.items():
        configuration = configuration.replace(name, value)
    return Streamd(folder, configuration)


def event(number: int, **payload: object) -> bytes:
    return msgspec.json.encode(
        {
            "id": f"evt_{number:07d}",
            "timestamp": "2025-11-19T10:30:00Z",
            "payload": {
                "event_type": "user_action",
                "source": "web_app",
                "user_id": f"user{number % 100}",
                "data": {"action": "click", "number": number},
                "tags": ["frontend"],
                "version": "1.0",
                **payload,
            },
        }
    )


async def produce(
    kafka: KafkaServer, topic: str, events: Iterable[bytes], partitions: int, chunk: int = 500
) -> None:
    """Write events round-robin, a chunk to a partition at a time; returns when all are stored."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, max_batch_size=500_000)
    pending = []
    async with producer:
        batch, count, turn = producer.create_batch(), 0, 0
        now = time.time_ns() // 1_000_000
        for raw in events:
            batch.append(key=None, value=raw, timestamp=now)
            count += 1
            if count % chunk == 0:
                batch.close()
                pending.append(await producer.send_batch(batch, topic, partition=turn % partitions))
                batch, turn = producer.create_batch(), turn + 1
        if count % chunk:
            batch.close()
            pending.append(await producer.send_batch(batch, topic, partition=turn % partitions))
        for future in pending:
            await future


async def until(condition: Callable[[], bool], timeout: float, what: str) -> None:
    """Ask in a thread, a few times a second, until it holds."""
    try:
        with anyio.fail_after(timeout):
            while not await to_thread.run_sync(condition):  # noqa: ASYNC110 - asks a server
                await anyio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"not within {timeout} s: {what}") from None


def stored(clickhouse: ClickHouseServer, database: str) -> tuple[int, int]:
    """Rows and different ids in the table; zeros while there is none."""
    exists = clickhouse.query(
        f"SELECT count() AS n FROM system.tables WHERE database = '{database}'"
        " AND name = 'ingested_data'"
    )
    if not exists[0]["n"]:
        return 0, 0
    (row,) = clickhouse.query(
        f"SELECT count() AS rows, uniqExact(id) AS ids FROM {database}.ingested_data"
    )
    return row["rows"], row["ids"]
