"""Kafka's other side, for the tests of source and sink."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from streamd.api import Batch, Control, Duration
from streamd.testing import FakeControl, PlainJson, RecordedMetrics, stage_context
from streamd_kafka.settings import SinkConfig, SourceConfig
from streamd_kafka.sink import KafkaSink
from streamd_kafka.source import KafkaSource


def source_of(
    servers: str,
    *topics: str,
    control: Control | None = None,
    metrics: RecordedMetrics | None = None,
    **settings: Any,
) -> KafkaSource:
    """A source, by default of a group of its own, which hears of a rebalance within a second."""
    group = f"group-{uuid.uuid4().hex[:12]}"
    settings = {"group_id": group, "session_timeout": Duration("3s"), **settings}
    config = SourceConfig(bootstrap_servers=servers, topics=topics, **settings)
    context = stage_context("source", control=control or FakeControl(), metrics=metrics)
    return KafkaSource(config, context)


def sink_of(servers: str, topic: str, **settings: Any) -> KafkaSink:
    config = SinkConfig(bootstrap_servers=servers, topic=topic, **settings)
    return KafkaSink(config, stage_context("sink", codec=PlainJson()))


@asynccontextmanager
async def producer_of(servers: str, **settings: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=servers, **settings)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def admin_of(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def feed(
    servers: str, topic: str, values: Iterable[bytes], *, partition: int = 0, **settings: Any
) -> None:
    """Write values to one partition."""
    async with producer_of(servers, **settings) as producer:
        sent = [await producer.send(topic, value, partition=partition) for value in values]
        for future in sent:
            await future


async def records_in(servers: str, topic: str) -> list[Any]:
    """All that a consumer sees, by partition and offset."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, isolation_level="read_committed")
    await consumer.start()
    try:
        await consumer.topics()
        found = await consumer._client._wait_on_metadata(topic)
        partitions = [TopicPartition(topic, number) for number in sorted(found)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[Any] = []
        with anyio.fail_after(30):
            for partition in partitions:
                while await consumer.position(partition) < ends[partition]:
                    fetched = await consumer.getmany(partition, timeout_ms=200)
                    records += fetched.get(partition, [])
        return records
    finally:
        await consumer.stop()


async def committed_by(servers: str, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    async with admin_of(servers) as admin:
        found: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(
            group
        )
    return found


async def read(source: KafkaSource, count: int, *, max_events: int = 500) -> list[Batch]:
    """Poll until `count` events have come."""
    batches: list[Batch] = []
    with anyio.fail_after(60):
        while sum(map(len, batches)) < count:
            batches += await source.poll(max_events, 0.2)
            await anyio.lowlevel.checkpoint()
    return batches


def raws_of(batches: Sequence[Batch]) -> list[bytes]:
    return [raw for batch in batches for raw in batch.raws or () if raw is not None]


def positions_after(batches: Sequence[Batch]) -> dict[str, int]:
    return {span.partition: span.stop for batch in batches for span in batch.spans}
