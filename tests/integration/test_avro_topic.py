"""The shipped example with Avro on the topic: what a client sends is what ClickHouse has."""

import json
import urllib.request
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer
from anyio import to_thread

from tests.integration.kafka_to_clickhouse import event, stored, until
from tests.services.clickhouse import ClickHouseServer
from tests.services.clients import TopicFactory
from tests.services.kafka import KafkaServer
from tests.services.server import free_ports
from tests.services.streamd import Streamd

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "avro-topic.toml"


async def test_events_survive_the_way_through_avro(
    tmp_path: Path,
    kafka: KafkaServer,
    clickhouse: ClickHouseServer,
    kafka_topic: TopicFactory,
    clickhouse_database: str,
) -> None:
    (port,) = free_ports(1)
    topic = await kafka_topic()
    sent = [msgspec.json.decode(event(number, session_id=f"s{number}")) for number in range(500)]
    environment = {
        "STATE_DIRECTORY": str(tmp_path / "state"),
        "HTTP_LISTEN": f"127.0.0.1:{port}",
        "API_KEY": "a-key-for-the-test",
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_TOPIC": topic,
        "CLICKHOUSE_URL": clickhouse.url_of(clickhouse_database),
    }
    configuration = EXAMPLE.read_text().replace('"127.0.0.1:8001"', '"{admin}"')
    with Streamd(tmp_path / "d", configuration, environment) as streamd:
        await until(lambda: streamd.get("/readyz")[0] == 200, 30, "ready")
        assert await to_thread.run_sync(post, port, json.dumps(sent).encode()) == 200
        await until(lambda: stored(clickhouse, clickhouse_database)[1] == 500, 60, "all rows")
        streamd.stop()
    found = clickhouse.query(
        f"SELECT id, payload FROM {clickhouse_database}.ingested_data ORDER BY id"
    )
    assert [(row["id"], msgspec.json.decode(row["payload"])) for row in found] == [
        (one["id"], one["payload"]) for one in sent
    ]
    assert await bytes_of(kafka, topic) < 0.6 * len(msgspec.json.encode(sent))


def post(port: int, body: bytes) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/ingest",
        body,
        {"X-API-Key": "a-key-for-the-test", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        status: int = answer.status
        return status


async def bytes_of(kafka: KafkaServer, topic: str) -> int:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    async with consumer:
        sizes: list[int] = []
        while len(sizes) < 500:
            for records in (await consumer.getmany(timeout_ms=5000)).values():
                sizes += [len(record.value) for record in records]
    return sum(sizes)
