"""The source keeps what every source promises, in both of its ways to read."""

from __future__ import annotations

import pytest

from streamd.api import Control, Source
from streamd.testing.contracts import SourceContract, SourceSubject
from tests.plugins.streamd_kafka.helpers import feed, source_of
from tests.services.clients import TopicFactory
from tests.services.kafka import KafkaServer


class KafkaSubject(SourceSubject):
    def __init__(self, servers: str, topic: str, *, fast: bool) -> None:
        self.servers = servers
        self.topic = topic
        self.fast = fast
        self.count = 0

    def make(self, control: Control) -> Source:
        return source_of(self.servers, self.topic, control=control, fast_records=self.fast)

    async def feed(self, count: int) -> list[bytes]:
        values = [b'{"number": %d}' % n for n in range(self.count, self.count + count)]
        self.count += count
        for partition in range(3):
            await feed(self.servers, self.topic, values[partition::3], partition=partition)
        return values


class TestKafkaSource(SourceContract):
    @pytest.fixture(params=["fast", "public"])
    async def subject(
        self, kafka: KafkaServer, kafka_topic: TopicFactory, request: pytest.FixtureRequest
    ) -> SourceSubject:
        topic = await kafka_topic(partitions=3)
        return KafkaSubject(kafka.bootstrap_servers, topic, fast=request.param == "fast")
