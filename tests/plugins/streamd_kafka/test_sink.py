"""What the sink writes, and what becomes of records that the broker does not want."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from streamd.api import Batch, Duration, Rejected, Retryable, Size
from streamd.testing import FakeClock, PlainJson, batch_of, sample_event, stage_context
from streamd_kafka.settings import SinkConfig
from streamd_kafka.sink import KafkaSink
from tests.plugins.streamd_kafka.helpers import raws_of, read, records_in, sink_of, source_of
from tests.services.clients import TopicFactory
from tests.services.kafka import KafkaServer


async def written(kafka: KafkaServer, topic: str, batch: Batch, **settings: Any) -> list[Any]:
    async with sink_of(kafka.bootstrap_servers, topic, **settings) as sink:
        await sink.write(batch)
    return await records_in(kafka.bootstrap_servers, topic)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent", "plain"])
async def test_a_round_trip_with_each_compression(
    kafka: KafkaServer, kafka_topic: TopicFactory, codec: str, idempotent: bool
) -> None:
    topic = await kafka_topic(partitions=3)
    events = [sample_event(number) for number in range(2000)]
    batch = batch_of(events, keys=[b"key %d" % (n % 10) for n in range(2000)])
    async with sink_of(
        kafka.bootstrap_servers,
        topic,
        compression=codec,
        batch_size=Size("16KiB"),
        enable_idempotence=idempotent,
    ) as sink:
        await sink.write(batch)
    async with source_of(kafka.bootstrap_servers, topic) as source:
        batches = await read(source, 2000)
    assert sorted(raws_of(batches)) == sorted(PlainJson().encode(events))
    keyed: dict[bytes | None, list[bytes | None]] = {}
    for each in batches:
        for key, raw in zip(each.keys or [], each.raws or [], strict=True):
            keyed.setdefault(key, []).append(raw)
    for number in range(10):  # the order of each key is kept
        assert keyed[b"key %d" % number] == PlainJson().encode(events[number::10])


async def test_keys_headers_and_time(kafka: KafkaServer, kafka_topic: TopicFactory) -> None:
    topic = await kafka_topic(partitions=2)
    batch = batch_of(
        [sample_event(1), sample_event(2), sample_event(3)],
        keys=[b"k", None, b"\xff"],
        headers=[[("trace", b"1"), ("trace", b"2")], None, []],
        timestamps=[5, 6, 7],
    )
    found = await written(kafka, topic, batch)
    by_id = {record.value[:13]: record for record in found}
    first, second, third = (by_id[b'{"id":"evt_%d"' % n] for n in (1, 2, 3))
    assert [first.key, second.key, third.key] == [b"k", None, b"\xff"]
    assert first.headers == (("trace", b"1"), ("trace", b"2"))
    assert second.headers == third.headers == ()
    assert first.timestamp == FakeClock().now_ms()


async def test_time_and_headers_of_the_event(kafka: KafkaServer, kafka_topic: TopicFactory) -> None:
    topic = await kafka_topic()
    batch = batch_of(
        [sample_event(1), sample_event(2)],
        headers=[[("trace", b"1")], []],
        timestamps=[5, 6],
        keys=[b"k", b"k"],
    )
    found = await written(kafka, topic, batch, timestamp="event", headers=False, key="none")
    assert [(r.timestamp, r.headers, r.key) for r in found] == [(5, (), None), (6, (), None)]


async def test_records_without_a_key_go_round(
    kafka: KafkaServer, kafka_topic: TopicFactory
) -> None:
    topic = await kafka_topic(partitions=3)
    async with sink_of(kafka.bootstrap_servers, topic) as sink:
        for first in range(0, 12, 2):
            await sink.write(batch_of([sample_event(first), sample_event(first + 1)]))
    found = await records_in(kafka.bootstrap_servers, topic)
    assert [record.partition for record in found] == [0] * 4 + [1] * 4 + [2] * 4


async def test_partitions_are_those_of_other_clients(
    kafka: KafkaServer, kafka_topic: TopicFactory
) -> None:
    from aiokafka.partitioner import DefaultPartitioner

    topic = await kafka_topic(partitions=5)
    keys = [b"user %d" % n for n in range(40)]
    found = await written(kafka, topic, batch_of([{"n": n} for n in range(40)], keys=keys))
    partitioner = DefaultPartitioner()
    assert len(found) == 40
    for record in found:
        assert record.partition == partitioner(record.key, list(range(5)), list(range(5)))


async def test_a_record_that_is_too_large_for_the_topic_is_alone(
    kafka: KafkaServer, kafka_topic: TopicFactory
) -> None:
    topic = await kafka_topic(config={"max.message.bytes": "20000"})
    events = [sample_event(number, "x" * 50) for number in range(500)]
    events[17] = sample_event(17, "x" * 30_000)
    events[401] = sample_event(401, "x" * 30_000)
    async with sink_of(kafka.bootstrap_servers, topic) as sink:
        await sink.write(batch_of([sample_event(1000)]))
        with pytest.raises(Rejected) as caught:
            await sink.write(batch_of(events))
        assert {row: reject.reason for row, reject in caught.value.rows.items()} == {
            17: "too_large",
            401: "too_large",
        }
        await sink.write(batch_of([sample_event(1001)]))
    found = [record.value for record in await records_in(kafka.bootstrap_servers, topic)]
    good = [sample_event(1000), *events[:17], *events[18:401], *events[402:], sample_event(1001)]
    assert sorted(found) == sorted(PlainJson().encode(good))


async def test_a_compacted_topic_refuses_records_without_a_key(
    kafka: KafkaServer, kafka_topic: TopicFactory
) -> None:
    topic = await kafka_topic(config={"cleanup.policy": "compact"})
    batch = batch_of([{"n": 0}, {"n": 1}, {"n": 2}], keys=[b"a", None, b"c"])
    async with sink_of(kafka.bootstrap_servers, topic) as sink:
        with pytest.raises(Rejected) as caught:
            await sink.write(batch)
    assert {row: reject.reason for row, reject in caught.value.rows.items()} == {1: "refused"}
    found = await records_in(kafka.bootstrap_servers, topic)
    assert [record.key for record in found] == [b"a", b"c"]


async def test_rows_that_cannot_be_encoded_and_rows_that_are_too_large(
    kafka: KafkaServer, kafka_topic: TopicFactory
) -> None:
    topic = await kafka_topic()
    batch = batch_of(
        [{"n": 0}, {"n": 1}, {"n": "x" * 3000}, {"n": 3}], raws=[b""] * 4, keys=[b"k"] * 4
    )
    batch.values[1] = {"n": object()}
    async with sink_of(kafka.bootstrap_servers, topic, max_request_size=Size("2KiB")) as sink:
        with pytest.raises(Rejected) as caught:
            await sink.write(batch)
    reasons = {row: reject.reason for row, reject in caught.value.rows.items()}
    assert reasons == {1: "unencodable", 2: "too_large"}
    found = await records_in(kafka.bootstrap_servers, topic)
    assert [record.value for record in found] == [b'{"n":0}', b'{"n":3}']


async def test_a_record_larger_than_a_batch(kafka: KafkaServer, kafka_topic: TopicFactory) -> None:
    topic = await kafka_topic()
    events = [sample_event(n, "x" * 5000) for n in range(5)]
    found = await written(kafka, topic, batch_of(events), batch_size=Size("1KiB"))
    assert [record.value for record in found] == PlainJson().encode(events)


async def write_on(sink: KafkaSink) -> None:
    while True:
        await sink.write(batch_of([{"n": 1}]))


async def test_no_broker() -> None:
    with pytest.raises(Retryable, match="cannot reach Kafka"):
        async with sink_of("127.0.0.1:1", "events"):
            pass


async def test_a_broker_that_comes_back(private_kafka: KafkaServer) -> None:
    topic = f"made-when-needed-{uuid.uuid4().hex[:12]}"
    sink = sink_of(
        private_kafka.bootstrap_servers,
        topic,
        delivery_timeout=Duration("500ms"),
        request_timeout=Duration("2s"),
    )
    async with sink:
        await sink.write(batch_of([{"n": 0}]))
        private_kafka.stop()
        for _ in range(2):
            with pytest.raises(Retryable):
                await sink.write(batch_of([{"n": 1}]))
        private_kafka.start()
        for attempt in range(50):
            try:
                await sink.write(batch_of([{"n": 2}]))
                break
            except Retryable:
                assert attempt < 49
    found = [record.value for record in await records_in(private_kafka.bootstrap_servers, topic)]
    assert found == [b'{"n":0}', b'{"n":2}'], "what was given up is not sent later"


async def test_a_broker_that_hangs(private_kafka: KafkaServer) -> None:
    topic = f"made-when-needed-{uuid.uuid4().hex[:12]}"
    sink = sink_of(
        private_kafka.bootstrap_servers,
        topic,
        delivery_timeout=Duration("500ms"),
        request_timeout=Duration("2s"),
    )
    async with sink:
        await sink.write(batch_of([{"n": 0}]))
        private_kafka.pause()
        with pytest.raises(Retryable, match=r"not acknowledged within 0\.5 s"):
            await write_on(sink)  # a process takes a moment to stop
        private_kafka.resume()
        for attempt in range(50):
            try:
                await sink.write(batch_of([{"n": 2}]))
                break
            except Retryable:
                assert attempt < 49
    found = {record.value for record in await records_in(private_kafka.bootstrap_servers, topic)}
    assert found >= {b'{"n":0}', b'{"n":2}'}


def test_key_settings() -> None:
    def key(setting: str) -> Any:
        sink = KafkaSink(
            SinkConfig(topic="t", key=setting), stage_context("sink", codec=PlainJson())
        )
        events: list[Any] = [
            {"user": "é", "n": 7, "source": "web", "deep": {"a": True}},
            {"user": None},
            {"user": b"raw"},
        ]
        return sink._key_of(batch_of(events, raws=[None] * 3, keys=[b"1", None, b"3"]))

    assert key("source") == [b"1", None, b"3"]
    assert key("none") is None
    assert key("user") == ["é".encode(), None, b"raw"]
    assert key("n") == [b"7", None, None]
    assert key("$.source") == [b"web", None, None]
    assert key("deep") == [b'{"a":true}', None, None]
