"""A topic as a store of dead letters, though no record can be deleted by itself."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streamd.api import Misconfigured, Sink
from streamd.testing.contracts.dead_letters import (
    DeadLettersContract,
    DeadLettersSubject,
    dead_letters_context,
    document,
    letters_of,
)
from streamd_kafka.removals import decode, encode
from streamd_kafka.settings import SinkConfig
from streamd_kafka.sink import KafkaSink
from tests.plugins.streamd_kafka.helpers import producer_of
from tests.services.clients import TopicFactory
from tests.services.kafka import KafkaServer


class TopicSubject(DeadLettersSubject):
    overwrites = False

    def __init__(self, servers: str, topic: str, **settings: Any) -> None:
        self.config = SinkConfig(bootstrap_servers=servers, topic=topic, **settings)

    def make(self) -> Sink:
        return KafkaSink(self.config, dead_letters_context())


class TestTopic(DeadLettersContract):
    @pytest.fixture
    async def subject(self, kafka: KafkaServer, kafka_topic: TopicFactory) -> TopicSubject:
        return TopicSubject(kafka.bootstrap_servers, await kafka_topic())


class TestPartitionedTopic(DeadLettersContract):
    @pytest.fixture
    async def subject(self, kafka: KafkaServer, kafka_topic: TopicFactory) -> TopicSubject:
        topic = await kafka_topic(partitions=3)
        return TopicSubject(kafka.bootstrap_servers, topic, key="dlq_id")


class TestCompactedTopic(DeadLettersContract):
    @pytest.fixture
    async def subject(self, kafka: KafkaServer, kafka_topic: TopicFactory) -> TopicSubject:
        topic = await kafka_topic(config={"cleanup.policy": "compact"})
        return TopicSubject(kafka.bootstrap_servers, topic, key="dlq_id")


async def extent(server: KafkaServer, topic: str) -> tuple[int, int]:
    """The oldest offset of the only partition, and the next one."""
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=server.bootstrap_servers) as consumer:
        consumer.assign([partition])
        start = (await consumer.beginning_offsets([partition]))[partition]
        return start, (await consumer.end_offsets([partition]))[partition]


async def test_the_log_loses_what_is_no_letter_any_more(
    kafka: KafkaServer, kafka_topic: TopicFactory
) -> None:
    topic = await kafka_topic()
    sink = TopicSubject(kafka.bootstrap_servers, topic).make()
    assert isinstance(sink, KafkaSink)
    async with sink:
        await sink.write(letters_of([document(number) for number in range(10)]))
    async with sink.dead_letters() as store:
        letters = [letter async for letter in store.read()]
        await store.remove([*letters[:4], letters[7]])
    start, end = await extent(kafka, topic)
    assert (start, end) == (4, 11), "what stands before the first letter is gone"
    async with sink.dead_letters() as store:
        left = [letter async for letter in store.read()]
        assert [letter.document["metadata"]["offset"] for letter in left] == [4, 5, 6, 8, 9]
        await store.remove(left)
    start, end = await extent(kafka, topic)
    assert start == end, "the records that named the removed ones are gone, too"


async def test_records_of_others_are_told_or_passed_over(
    kafka: KafkaServer, kafka_topic: TopicFactory
) -> None:
    topic = await kafka_topic()
    async with producer_of(kafka.bootstrap_servers) as producer:
        await producer.send_and_wait(topic, b"no json")
        await producer.send_and_wait(topic, None, key=b"tombstone")
        await producer.send_and_wait(topic, b"damaged", headers=[("streamd-removed", b"")])
    sink = TopicSubject(kafka.bootstrap_servers, topic).make()
    assert isinstance(sink, KafkaSink)
    async with sink.dead_letters() as store:
        (letter,) = [letter async for letter in store.read()]
    assert letter.document == {}
    assert letter.fault


async def test_a_topic_that_is_not_there(kafka: KafkaServer) -> None:
    sink = TopicSubject(kafka.bootstrap_servers, "never-made").make()
    assert isinstance(sink, KafkaSink)
    with pytest.raises(Misconfigured):
        async with sink.dead_letters():
            pass


@pytest.mark.parametrize("offsets", [[], [5], [3, 1, 2, 9, 9], list(range(0, 1000, 7))])
def test_offsets_come_back_from_a_removal(offsets: list[int]) -> None:
    assert sorted(decode(encode(offsets))) == sorted(set(offsets))


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff", b'{"removed":[[1]]}'])
def test_a_damaged_removal_removes_nothing(value: bytes | None) -> None:
    assert list(decode(value)) == []
