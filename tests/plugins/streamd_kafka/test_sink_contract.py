"""The sink keeps what every sink promises."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamd.api import Sink
from streamd.testing.contracts import SinkContract, SinkSubject
from tests.plugins.streamd_kafka.helpers import records_in, sink_of
from tests.services.clients import TopicFactory
from tests.services.kafka import KafkaServer


class KafkaSubject(SinkSubject):
    def __init__(self, servers: str, topic: str) -> None:
        self.servers = servers
        self.topic = topic

    def make(self) -> Sink:
        return sink_of(self.servers, self.topic, key="payload.user_id")

    async def stored(self) -> list[Any]:
        return [msgspec.json.decode(r.value) for r in await records_in(self.servers, self.topic)]

    def poison(self, number: int) -> Any:
        return self.event(number, "x" * 1_100_000)


class TestKafkaSink(SinkContract):
    @pytest.fixture
    async def subject(self, kafka: KafkaServer, kafka_topic: TopicFactory) -> SinkSubject:
        return KafkaSubject(kafka.bootstrap_servers, await kafka_topic(partitions=3))
