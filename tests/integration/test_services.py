"""The servers themselves, each spoken to with the library that streamd uses for it."""

import time

import anyio
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from asynch.connection import Connection

from tests.services.clickhouse import ClickHouseError, ClickHouseServer
from tests.services.clients import TopicFactory, create_topic, s3_client
from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer

A_YEAR_AGO = int(time.time() * 1000) - 365 * 86_400_000


async def produce(server: KafkaServer, topic: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=server.bootstrap_servers, acks="all")
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, timestamp_ms=A_YEAR_AGO)
    finally:
        await producer.stop()


async def consume(server: KafkaServer, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=server.bootstrap_servers,
        group_id=f"{topic}-readers",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    values: list[bytes] = []
    try:
        with anyio.fail_after(20):
            while len(values) < count:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    values += [record.value for record in records]
    finally:
        await consumer.stop()
    return values


async def test_kafka_gives_back_what_it_was_given(
    kafka: KafkaServer, kafka_topic: TopicFactory
) -> None:
    topic = await kafka_topic(partitions=1)
    sent = [b"one", b"two", b"three"]
    await produce(kafka, topic, sent)
    assert await consume(kafka, topic, 3) == sent


async def test_kafka_keeps_topics_over_a_kill(private_kafka: KafkaServer) -> None:
    topic = await create_topic(private_kafka, partitions=2)
    await produce(private_kafka, topic, [b"before"])
    private_kafka.kill()
    assert not private_kafka.running
    private_kafka.start()
    await produce(private_kafka, topic, [b"after"])
    assert sorted(await consume(private_kafka, topic, 2)) == [b"after", b"before"]


async def test_a_topic_that_exists_is_refused(kafka_topic: TopicFactory) -> None:
    topic = await kafka_topic()
    with pytest.raises(RuntimeError, match="already exists"):
        await kafka_topic(name=topic)


async def select_one(server: ClickHouseServer) -> object:
    connection = Connection(server.url)
    await connection.connect()
    try:
        async with connection.cursor() as cursor:
            await cursor.execute("SELECT 1")
            return await cursor.fetchone()
    finally:
        await connection.close()


async def test_clickhouse_answers_over_its_native_protocol(clickhouse: ClickHouseServer) -> None:
    assert await select_one(clickhouse) == (1,)


def test_clickhouse_databases_are_apart(
    clickhouse: ClickHouseServer, clickhouse_database: str
) -> None:
    clickhouse.query("CREATE TABLE t (n UInt64) ENGINE = Memory", clickhouse_database)
    clickhouse.query("INSERT INTO t VALUES (18446744073709551615)", clickhouse_database)
    assert clickhouse.query("SELECT n FROM t", clickhouse_database) == [{"n": 2**64 - 1}]
    with pytest.raises(ClickHouseError, match="t"):
        clickhouse.query("SELECT n FROM t")


def test_clickhouse_keeps_rows_over_a_restart(private_clickhouse: ClickHouseServer) -> None:
    private_clickhouse.query("CREATE TABLE t (n Int32) ENGINE = MergeTree ORDER BY n")
    private_clickhouse.query("INSERT INTO t VALUES (7)")
    port = private_clickhouse.port
    private_clickhouse.stop()
    private_clickhouse.start()
    assert private_clickhouse.query("SELECT n FROM t") == [{"n": 7}]
    assert private_clickhouse.port == port


def test_a_paused_server_hangs_and_a_resumed_one_answers(
    private_clickhouse: ClickHouseServer,
) -> None:
    private_clickhouse.pause()
    with pytest.raises(TimeoutError):
        private_clickhouse.answers()
    private_clickhouse.resume()
    assert private_clickhouse.answers()


async def test_minio_gives_back_what_it_was_given(minio: MinioServer, minio_bucket: str) -> None:
    async with s3_client(minio) as client:
        await client.put_object(Bucket=minio_bucket, Key="a/b", Body=b"content")
        reply = await client.get_object(Bucket=minio_bucket, Key="a/b")
        async with reply["Body"] as body:
            assert await body.read() == b"content"


async def test_minio_keeps_objects_over_a_kill(private_minio: MinioServer) -> None:
    async with s3_client(private_minio) as client:
        await client.create_bucket(Bucket="kept")
        await client.put_object(Bucket="kept", Key="k", Body=b"1")
    private_minio.kill()
    private_minio.start()
    async with s3_client(private_minio) as client:
        assert [o["Key"] for o in (await client.list_objects_v2(Bucket="kept"))["Contents"]] == [
            "k"
        ]
