"""What `check --connect` finds. Joins no group and writes nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import aiokafka.errors as kafka
import anyio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from streamd.api import Misconfigured
from streamd_kafka.problems import explain
from streamd_kafka.settings import ConnectionConfig, SinkConfig, SourceConfig, client_options

_COORDINATOR_TRIES, _COORDINATOR_PAUSE = 10, 0.5
_FETCH_MS = 500
"""A refusal comes at once; records do not have to come."""


async def check_source(config: SourceConfig) -> str:
    """Topics, the right to read them, and the group's offsets.

    Raises Retryable or Misconfigured.
    """
    async with _admin(config) as admin:
        topics = _matching(config, await admin.list_topics())
        partitions = await _partitions(admin, topics)
        await _try_to_read(config, partitions)
        offsets = await _group_offsets(admin, config.group_id)
    known = sum(offset.offset >= 0 for tp, offset in offsets.items() if tp in partitions)
    return (
        f"{len(topics)} topics with {len(partitions)} partitions, "
        f"group {config.group_id} has offsets in {known} of them"
    )


async def check_sink(config: SinkConfig) -> str:
    """The topic. Whether it may be written to shows only at the first write.

    Raises Retryable or Misconfigured.
    """
    async with _admin(config) as admin:
        if config.topic not in await admin.list_topics():
            raise Misconfigured(
                f"topic {config.topic} does not exist, or may not be described; a broker with "
                "auto.create.topics.enable makes it at the first write"
            )
        partitions = await _partitions(admin, [config.topic])
    return f"topic {config.topic} with {len(partitions)} partitions"


@asynccontextmanager
async def _admin(config: ConnectionConfig) -> AsyncIterator[AIOKafkaAdminClient]:
    """What goes wrong inside comes out in the pipeline's terms."""
    try:
        admin = AIOKafkaAdminClient(**client_options(config))
        try:
            await admin.start()
            yield admin
        finally:
            with anyio.move_on_after(5, shield=True):
                await admin.close()
    except (kafka.KafkaError, OSError, TimeoutError) as error:
        raise await explain(config, error, "cannot reach Kafka") from error


async def _group_offsets(
    admin: AIOKafkaAdminClient, group: str
) -> dict[TopicPartition, OffsetAndMetadata]:
    """A fresh broker makes its offsets topic at the first question and has no coordinator yet."""
    for _ in range(_COORDINATOR_TRIES):
        try:
            return dict(await admin.list_consumer_group_offsets(group))
        except kafka.GroupCoordinatorNotAvailableError:
            await anyio.sleep(_COORDINATOR_PAUSE)
    return dict(await admin.list_consumer_group_offsets(group))


def _matching(config: SourceConfig, existing: Collection[str]) -> list[str]:
    if config.topic_pattern:
        return [topic for topic in existing if re.match(config.topic_pattern, topic)]
    missing = sorted(set(config.topics) - set(existing))
    if missing and config.on_missing_topic == "error":
        raise Misconfigured(f"topics do not exist, or may not be described: {', '.join(missing)}")
    return [topic for topic in config.topics if topic in existing]


async def _partitions(admin: AIOKafkaAdminClient, topics: list[str]) -> set[TopicPartition]:
    if not topics:  # the broker would describe all there are
        return set()
    return {
        TopicPartition(found["topic"], partition["partition"])
        for found in await admin.describe_topics(topics)
        for partition in found["partitions"]
    }


async def _try_to_read(config: SourceConfig, partitions: set[TopicPartition]) -> None:
    if not partitions:
        return
    consumer = AIOKafkaConsumer(
        **client_options(config),
        auto_offset_reset="earliest",
        fetch_max_wait_ms=_FETCH_MS // 2,
        max_partition_fetch_bytes=1,
    )
    consumer.assign(list(partitions))
    try:
        await consumer.start()
        await consumer.getmany(timeout_ms=_FETCH_MS)
    finally:
        with anyio.move_on_after(5, shield=True):
            await consumer.stop()
