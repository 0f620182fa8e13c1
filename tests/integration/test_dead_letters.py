"""The shipped example on real servers, while ClickHouse is away: bucket and topic get it all."""

from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from aiokafka import AIOKafkaConsumer
from anyio import to_thread

from tests.integration.kafka_to_clickhouse import COUNTS_OFTEN, event, produce, stored, until
from tests.services.clickhouse import ClickHouseServer
from tests.services.clients import create_topic, s3_client
from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer
from tests.services.streamd import Streamd

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "kafka-to-clickhouse.toml"


async def test_events_that_clickhouse_cannot_take_are_in_bucket_and_topic(
    tmp_path: Path,
    kafka: KafkaServer,
    private_clickhouse: ClickHouseServer,
    minio: MinioServer,
) -> None:
    await create_topic(kafka, 1, name="events")
    await create_topic(kafka, 1, name="dlq-events")
    text = EXAMPLE.read_text()
    configuration = text.replace("${STREAMD_ADMIN:-127.0.0.1:8001}", "{admin}")
    assert configuration != text
    environment = {
        "STATE_DIRECTORY": str(tmp_path / "state"),
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "CLICKHOUSE_URL": private_clickhouse.url_of("wotr"),
        "MINIO_ENDPOINT": minio.endpoint,
        "MINIO_ROOT_USER": minio.access_key,
        "MINIO_ROOT_PASSWORD": minio.secret_key,
    }
    with Streamd(tmp_path / "d", configuration, environment, COUNTS_OFTEN) as streamd:
        await produce(kafka, "events", map(event, range(100)), 1)
        await until(lambda: stored(private_clickhouse, "wotr") == (100, 100), 30, "first rows")
        await to_thread.run_sync(private_clickhouse.stop)
        await produce(kafka, "events", map(event, range(100, 150)), 1)
        await until(lambda: streamd.metric("dlq_messages_total") >= 50, 60, "dead letters")
        await until(
            lambda: streamd.status()["events"]["in_flight_events"] == 0, 30, "all of it committed"
        )
        lines = [msgspec.json.decode(line) for line in streamd.log.read_bytes().splitlines()]
        await to_thread.run_sync(private_clickhouse.start)
        await produce(kafka, "events", map(event, range(150, 200)), 1)
        await until(lambda: stored(private_clickhouse, "wotr") == (150, 150), 60, "goes on")
        await until(lambda: streamd.metric("dlq_backlog_size") == 50, 30, "backlog is counted")
        streamd.stop()

    tries = [line for line in lines if line.get("message") == "Will try again"]
    assert [line["delay"] for line in tries if line["stage"] == "clickhouse"] == [2, 4, 8]
    objects = await objects_of(minio, "dead-letters")
    records = await records_of(kafka, "dlq-events", 50)
    expected = {f"evt_{number:07d}" for number in range(100, 150)}
    for documents in (list(objects.values()), records):
        assert {document["original_message"]["id"] for document in documents} == expected
        for document in documents:
            number = int(document["original_message"]["id"][4:])
            assert document["original_message"] == msgspec.json.decode(event(number))
            assert document["retry_count"] == 3
            assert document["metadata"] == {"partition": 0, "offset": number}
            assert document["topic"] == "events"
            assert document["stage"] == "clickhouse"
            assert document["error"] == {
                "type": mock.ANY,
                "message": mock.ANY,
                "traceback": mock.ANY,
            }
            assert document["dlq_id"].endswith(document["original_message"]["id"])
    for key, document in objects.items():
        assert key.startswith("failed/2")
        assert key.endswith(f"/{document['dlq_id']}.json")


async def objects_of(minio: MinioServer, bucket: str) -> dict[str, Any]:
    async with s3_client(minio) as client:
        listed = await client.list_objects_v2(Bucket=bucket)
        found = {}
        for entry in listed["Contents"]:
            got = await client.get_object(Bucket=bucket, Key=entry["Key"])
            found[entry["Key"]] = msgspec.json.decode(await got["Body"].read())
    return found


async def records_of(kafka: KafkaServer, topic: str, count: int) -> list[Any]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    async with consumer:
        records: list[Any] = []
        while len(records) < count:
            for batch in (await consumer.getmany(timeout_ms=10_000)).values():
                records += [msgspec.json.decode(record.value) for record in batch]
    return records
