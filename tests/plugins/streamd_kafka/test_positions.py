"""Where reading begins, and what happens where the log has no such place."""

from __future__ import annotations

import uuid
from typing import Any

import anyio
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import KafkaError
from structlog.testing import capture_logs

from streamd.api import NOTHING_READ, Batch, Duration, Misconfigured, Retryable, Size
from streamd.testing import RecordedMetrics
from streamd_kafka.source import KafkaSource
from tests.plugins.streamd_kafka.engine import Engine
from tests.plugins.streamd_kafka.helpers import (
    admin_of,
    committed_by,
    feed,
    positions_after,
    producer_of,
    raws_of,
    read,
    source_of,
)
from tests.services.clients import TopicFactory
from tests.services.kafka import KafkaServer


async def delete_before(servers: str, topic: str, offset: int) -> None:
    """As retention does."""
    async with admin_of(servers) as admin:
        await admin.delete_records(
            {TopicPartition(topic, 0): RecordsToDelete(before_offset=offset)}
        )


def group_at(servers: str, topic: str, position: int, **settings: Any) -> KafkaSource:
    """A source whose engine says where to go on."""
    engine = Engine()
    engine.positions = {f"{topic}:0": position}
    return source_of(servers, topic, control=engine, **settings)


async def test_start_at_a_time(kafka: KafkaServer, kafka_topic: TopicFactory) -> None:
    topic = await kafka_topic()
    async with producer_of(kafka.bootstrap_servers) as producer:
        for second in range(10):
            await producer.send_and_wait(
                topic, b"%d" % second, partition=0, timestamp_ms=1_763_548_200_000 + second * 1000
            )
    for start in ("2025-11-19T10:30:04Z", "2025-11-19T11:30:03.5+01:00", "1763548204000"):
        async with source_of(kafka.bootstrap_servers, topic, start=start) as source:
            assert raws_of(await read(source, 6)) == [b"%d" % n for n in range(4, 10)]
    async with source_of(kafka.bootstrap_servers, topic, start="2026-01-01T00:00:00Z") as source:
        assert await source.poll(10, 0.3) == []
        await feed(kafka.bootstrap_servers, topic, [b"later"])
        assert raws_of(await read(source, 1)) == [b"later"]


async def test_start_at_the_end(kafka: KafkaServer, kafka_topic: TopicFactory) -> None:
    topic = await kafka_topic()
    await feed(kafka.bootstrap_servers, topic, [b"before"])
    engine = Engine()
    async with source_of(kafka.bootstrap_servers, topic, start="latest", control=engine) as source:
        with anyio.fail_after(30):
            while not engine.owned:
                assert await source.poll(10, 0.1) == []
        await feed(kafka.bootstrap_servers, topic, [b"after"])
        assert raws_of(await read(source, 1)) == [b"after"]


async def take_over(source: KafkaSource, engine: Engine) -> None:
    """Poll until the partitions are ours and may be read."""
    session: Any = source._session
    with anyio.fail_after(30):
        while not engine.owned or session._membership.pending:
            assert await source.poll(10, 0.1) == []


@pytest.mark.parametrize("start", ["latest", "2100-01-01T00:00:00Z"])
async def test_what_comes_between_two_starts_is_read(
    kafka: KafkaServer, kafka_topic: TopicFactory, start: str
) -> None:
    topic, servers = await kafka_topic(), kafka.bootstrap_servers
    group = f"group-{uuid.uuid4().hex[:8]}"
    await feed(servers, topic, [b"before"])
    engine = Engine()
    async with source_of(servers, topic, group_id=group, start=start, control=engine) as source:
        await take_over(source, engine)
    assert engine.done == {}, "nothing was read, so the engine has committed nothing"
    found = (await committed_by(servers, group))[TopicPartition(topic, 0)]
    assert (found.offset, found.metadata) == (1, NOTHING_READ)
    await feed(servers, topic, [b"between"])
    async with source_of(servers, topic, group_id=group, start=start) as source:
        await feed(servers, topic, [b"after"])
        assert raws_of(await read(source, 2)) == [b"between", b"after"]


@pytest.mark.parametrize("start", ["earliest", "latest"])
async def test_a_beginning_is_committed_only_where_nobody_knows_better(
    kafka: KafkaServer, kafka_topic: TopicFactory, start: str
) -> None:
    topic, servers = await kafka_topic(partitions=3), kafka.bootstrap_servers
    group = f"group-{uuid.uuid4().hex[:8]}"
    await feed(servers, topic, [b"a", b"b"])
    await feed(servers, topic, [b"c", b"d"], partition=1)
    known, unknown = TopicPartition(topic, 0), TopicPartition(topic, 2)
    engine = Engine()
    engine.positions = {f"{topic}:1": 1}
    async with source_of(servers, topic, group_id=group) as first:
        await read(first, 4)
        await first.commit({f"{topic}:0": 1}, "store:1")
    async with source_of(servers, topic, group_id=group, start=start, control=engine) as source:
        assert sorted(raws_of(await read(source, 2))) == [b"b", b"d"]
    found = await committed_by(servers, group)
    assert (found[known].offset, found[known].metadata) == (1, "store:1")
    begun = {partition for partition in found if found[partition].metadata == NOTHING_READ}
    assert begun == ({unknown} if start == "latest" else set())


async def test_a_beginning_that_cannot_be_committed_stays_where_it_was(
    kafka: KafkaServer, kafka_topic: TopicFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, servers = await kafka_topic(), kafka.bootstrap_servers

    async def fails(*_args: Any) -> None:
        raise KafkaError("not now")

    engine = Engine()
    async with source_of(servers, topic, start="latest", control=engine) as source:
        with monkeypatch.context() as broken:
            broken.setattr("streamd_kafka.session.commit_offsets", fails)
            with pytest.raises(Retryable, match="not now"):
                await read(source, 1)
        await feed(servers, topic, [b"meanwhile"])
        assert raws_of(await read(source, 1)) == [b"meanwhile"]


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "public"])
async def test_retention_was_faster(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    topic, metrics = await kafka_topic(), RecordedMetrics()
    await feed(kafka.bootstrap_servers, topic, [b"%d" % n for n in range(10)])
    await delete_before(kafka.bootstrap_servers, topic, 7)
    source = group_at(kafka.bootstrap_servers, topic, 2, metrics=metrics, fast_records=fast)
    async with source:
        with capture_logs() as logs:
            batches = await read(source, 3)
    assert raws_of(batches) == [b"7", b"8", b"9"]
    assert metrics.value("kafka_lost_records") == 5
    assert metrics.value("kafka_offset_resets") == 1
    told = [line for line in logs if line["log_level"] == "error"]
    assert [(line["partition"], line["position"], line["oldest"]) for line in told] == [
        (f"{topic}:0", 2, 7)
    ]


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "public"])
async def test_retention_overtakes_a_reader(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    topic, metrics = await kafka_topic(), RecordedMetrics()
    # One record per fetch: a larger batch than may be fetched comes alone.
    values = [b"%d" % n * 2000 for n in range(8)]
    async with producer_of(kafka.bootstrap_servers) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)
    source = source_of(
        kafka.bootstrap_servers,
        topic,
        metrics=metrics,
        fast_records=fast,
        max_partition_fetch_bytes=Size("1KiB"),
    )
    async with source:
        batches = await read(source, 1)
        await delete_before(kafka.bootstrap_servers, topic, 6)
        with anyio.fail_after(30):
            while raws_of(batches)[-1] != values[-1]:
                batches += await source.poll(10, 0.2)
    found = raws_of(batches)
    assert found == values[: len(found) - 2] + values[6:]
    assert metrics.value("kafka_lost_records") == 8 - len(found) > 0


async def test_a_lost_position_can_be_an_error(
    kafka: KafkaServer, kafka_topic: TopicFactory
) -> None:
    topic, metrics = await kafka_topic(), RecordedMetrics()
    await feed(kafka.bootstrap_servers, topic, [b"%d" % n for n in range(10)])
    await delete_before(kafka.bootstrap_servers, topic, 7)
    source = group_at(kafka.bootstrap_servers, topic, 2, metrics=metrics, on_lost_offsets="error")
    async with source:
        for _ in range(2):
            with pytest.raises(Misconfigured, match=f"{topic}:0.* 5 records are lost"):
                await read(source, 1)
    assert metrics.value("kafka_lost_records") == 0


async def test_a_topic_that_was_made_anew(kafka: KafkaServer, kafka_topic: TopicFactory) -> None:
    topic, metrics = await kafka_topic(), RecordedMetrics()
    await feed(kafka.bootstrap_servers, topic, [b"a", b"b"])
    async with group_at(kafka.bootstrap_servers, topic, 1000, metrics=metrics) as source:
        assert raws_of(await read(source, 2)) == [b"a", b"b"]
    assert metrics.value("kafka_lost_records") == 0
    assert metrics.value("kafka_offset_resets") == 1


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "public"])
async def test_transactions_leave_gaps(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    topic, servers = await kafka_topic(), kafka.bootstrap_servers
    async with producer_of(servers, transactional_id=f"tx-{uuid.uuid4().hex[:8]}") as producer:
        for value, aborts in ((b"a", False), (b"gone", True), (b"b", False)):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, value, partition=0)
            await (producer.abort_transaction() if aborts else producer.commit_transaction())
    metrics = RecordedMetrics()
    async with source_of(servers, topic, fast_records=fast, metrics=metrics) as source:
        batches: list[Batch] = await read(source, 2)
        assert raws_of(batches) == [b"a", b"b"]
        assert [offset for batch in batches for offset in batch.offsets] == [0, 4]
        assert positions_after(batches) == {f"{topic}:0": 6}, "after the last marker"
    async with source_of(
        servers, topic, fast_records=fast, isolation_level="read_uncommitted"
    ) as source:
        assert raws_of(await read(source, 3)) == [b"a", b"gone", b"b"]


async def test_lag(kafka: KafkaServer, kafka_topic: TopicFactory) -> None:
    topic, metrics = await kafka_topic(), RecordedMetrics()
    async with producer_of(kafka.bootstrap_servers) as producer:
        sent = [
            await producer.send(topic, b"x", partition=0, timestamp_ms=1_763_548_190_000)
            for _ in range(10)
        ]
        for future in sent:
            await future
    label = {"partition": f"{topic}:0"}
    async with source_of(kafka.bootstrap_servers, topic, metrics=metrics) as source:
        await read(source, 1, max_events=1)
        assert metrics.value("kafka_lag_records", **label) == 9
        assert metrics.value("kafka_lag_seconds", **label) == 10  # by the context's clock
        await read(source, 9)
        with anyio.fail_after(30):
            while metrics.value("kafka_lag_records", **label):
                await source.poll(10, 0.1)
        assert metrics.value("kafka_lag_seconds", **label) == 0


async def test_lag_while_the_engine_does_not_read(
    kafka: KafkaServer, kafka_topic: TopicFactory
) -> None:
    topic, metrics = await kafka_topic(), RecordedMetrics()
    servers, label = kafka.bootstrap_servers, {"partition": f"{topic}:0"}
    await feed(servers, topic, [b"x"] * 10)
    async with source_of(servers, topic, metrics=metrics) as source:
        await read(source, 1, max_events=1)
        await feed(servers, topic, [b"x"] * 20)
        await source.keepalive()
        assert metrics.value("kafka_lag_records", **label) == 29
        await read(source, 29)


async def test_a_missing_topic(kafka: KafkaServer) -> None:
    topic = f"missing-{uuid.uuid4().hex[:8]}"
    with pytest.raises(Misconfigured, match=topic):
        async with source_of(kafka.bootstrap_servers, topic):
            pass
    source = source_of(
        kafka.bootstrap_servers,
        topic,
        on_missing_topic="wait",
        metadata_max_age=Duration("300ms"),
    )
    async with source:
        assert await source.poll(10, 0.1) == []
        await feed(kafka.bootstrap_servers, topic, [b"here"])  # the broker makes it
        assert raws_of(await read(source, 1)) == [b"here"]


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "public"])
async def test_topics_of_a_pattern(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    prefix = f"many-{uuid.uuid4().hex[:8]}"
    for name in ("a", "b"):
        topic = await kafka_topic(name=f"{prefix}-{name}")
        await feed(kafka.bootstrap_servers, topic, [name.encode()])
    engine = Engine()
    engine.source = source_of(
        kafka.bootstrap_servers,
        topic_pattern=f"{prefix}-[a-z]",
        metadata_max_age=Duration("300ms"),
        fast_records=fast,
        control=engine,
    )
    async with engine.source as source:
        engine.take(await read(source, 2))
        topic = await kafka_topic(name=f"{prefix}-c")
        await feed(kafka.bootstrap_servers, topic, [b"c"])
        engine.take(await read(source, 1))
    assert sorted(engine.raws) == [b"a", b"b", b"c"], "what was read before is committed"
    assert engine.losses == []
