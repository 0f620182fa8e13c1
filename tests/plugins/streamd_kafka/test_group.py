"""A member of a group: joining, moving, being lost, coming back."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streamd.api import Committed, Duration, Retryable
from streamd_kafka.source import KafkaSource
from tests.plugins.streamd_kafka.engine import Engine
from tests.plugins.streamd_kafka.helpers import committed_by, feed, read, source_of
from tests.services.clients import TopicFactory
from tests.services.kafka import KafkaServer

# A member that has forgotten its id has to wait until the broker has forgotten it too.
FORGETFUL = {"session_timeout": Duration("1s")}
SHORT = {"session_timeout": Duration("1s"), "max_poll_interval": Duration("1500ms")}
pytestmark = pytest.mark.parametrize("fast", [True, False], ids=["fast", "public"])


def member(kafka: KafkaServer, topic: str, engine: Engine, **settings: Any) -> KafkaSource:
    engine.source = source_of(kafka.bootstrap_servers, topic, control=engine, **settings)
    return engine.source


async def drive(engine: Engine, scope: anyio.CancelScope) -> None:
    """Poll until cancelled, then stop between two polls."""
    assert engine.source is not None
    while not scope.cancel_called:
        with anyio.CancelScope(shield=True):
            engine.take(await engine.source.poll(100, 0.05))
        await anyio.lowlevel.checkpoint()


async def until(condition: Any) -> None:
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - the condition is the broker's
            await anyio.sleep(0.02)


def group_name() -> str:
    return f"group-{uuid.uuid4().hex[:12]}"


def coordinator(source: KafkaSource) -> Any:
    session: Any = source._session
    return session._consumer._coordinator


async def test_committed_positions_come_back_with_their_tag(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    topic, group = await kafka_topic(), group_name()
    values = [b"%d" % n for n in range(10)]
    await feed(kafka.bootstrap_servers, topic, values)
    first, second = Engine("store-a:17"), Engine()
    async with member(kafka, topic, first, group_id=group, fast_records=fast) as source:
        first.take(await read(source, 4, max_events=4))
        await first.commit()
        assert first.assignments == [{f"{topic}:0": None}]
    found = await committed_by(kafka.bootstrap_servers, group)
    assert found[TopicPartition(topic, 0)] == (4, "store-a:17")
    async with member(kafka, topic, second, group_id=group, fast_records=fast) as source:
        second.take(await read(source, 6))
        assert second.assignments == [{f"{topic}:0": Committed(4, "store-a:17")}]
    assert second.raws == values[4:]


async def test_the_engines_position_goes_before_the_groups(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    topic, group = await kafka_topic(), group_name()
    await feed(kafka.bootstrap_servers, topic, [b"%d" % n for n in range(10)])
    engine = Engine()
    async with member(kafka, topic, engine, group_id=group, fast_records=fast) as source:
        engine.take(await read(source, 10))
        await engine.commit()
    engine = Engine()
    engine.positions = {f"{topic}:0": 3}
    async with member(kafka, topic, engine, group_id=group, fast_records=fast) as source:
        engine.take(await read(source, 7))
    assert engine.raws == [b"%d" % n for n in range(3, 10)]


async def test_a_second_member_takes_over_half(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    topic, group = await kafka_topic(partitions=4), group_name()
    fed = [b"%d" % n for n in range(400)]
    for number in range(4):
        await feed(kafka.bootstrap_servers, topic, fed[number::4], partition=number)
    first, second = Engine("first:1"), Engine("second:1")
    async with (
        member(kafka, topic, first, group_id=group, fast_records=fast) as source,
        anyio.create_task_group() as tasks,
    ):
        first.take(await read(source, 250, max_events=50))
        tasks.start_soon(drive, first, tasks.cancel_scope)
        async with member(kafka, topic, second, group_id=group, fast_records=fast):
            tasks.start_soon(drive, second, tasks.cancel_scope)
            await until(lambda: len(first.raws) + len(second.raws) >= 400)
            await until(lambda: len(first.owned) == len(second.owned) == 2)
            tasks.cancel_scope.cancel()
    assert sorted(first.raws + second.raws) == sorted(fed), "nothing twice: all was committed"
    assert first.revocations[0] == {f"{topic}:{number}" for number in range(4)}
    assert first.losses == second.losses == []
    tags = {known.tag for known in second.assignments[-1].values() if known is not None}
    assert tags <= {"first:1", "second:1"}


async def test_a_commit_of_a_former_member_means_lost(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    topic = await kafka_topic()
    await feed(kafka.bootstrap_servers, topic, [b"a", b"b"])
    engine = Engine()
    async with member(kafka, topic, engine, fast_records=fast, **FORGETFUL) as source:
        engine.take(await read(source, 2))
        coordinator(source).generation += 100
        await engine.commit()
        assert engine.losses == [{f"{topic}:0"}]
        # It joins again by itself, and the records that were not committed come again.
        engine.take(await read(source, 2))
    assert engine.raws == [b"a", b"b"] * 2
    assert engine.revocations == []


async def test_an_expelled_member_does_not_wait_for_a_commit(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    topic = await kafka_topic()
    await feed(kafka.bootstrap_servers, topic, [b"a", b"b"])
    engine = Engine()
    async with member(kafka, topic, engine, fast_records=fast, **FORGETFUL) as source:
        engine.take(await read(source, 2))
        coordinator(source).reset_generation()
        engine.take(await read(source, 2))
    assert engine.losses == [{f"{topic}:0"}]
    assert engine.revocations == []


async def test_a_late_commit_is_dropped(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    topic, group = await kafka_topic(partitions=2), group_name()
    engine = Engine()
    async with member(kafka, topic, engine, group_id=group, fast_records=fast) as source:
        await source.poll(10, 0.1)
        await source.commit({f"{topic}:0": 5, "elsewhere:3": 9}, "x")
        while not engine.owned:
            await source.poll(10, 0.1)
        await source.commit({"elsewhere:3": 9}, "x")
    assert await committed_by(kafka.bootstrap_servers, group) == {}


async def test_a_failure_in_the_engine_comes_out_of_poll(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    class Failing(Engine):
        async def revoking(self, partitions: Collection[str]) -> None:
            raise OSError("disk full")

    topic = await kafka_topic()
    await feed(kafka.bootstrap_servers, topic, [b"a"])
    engine = Failing()
    async with member(kafka, topic, engine, fast_records=fast) as source:
        engine.take(await read(source, 1))
        coordinator(source).request_rejoin()
        with pytest.raises(OSError, match="disk full"):
            await read(source, 2)


async def test_a_client_that_gave_up_is_replaced(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    topic = await kafka_topic()
    await feed(kafka.bootstrap_servers, topic, [b"a", b"b"])
    engine = Engine()
    async with member(kafka, topic, engine, fast_records=fast) as source:
        engine.take(await read(source, 2))
        await engine.commit()
        coordinator(source)._pending_exception = KafkaError("unexpected")
        with pytest.raises(Retryable, match="unexpected"):
            await source.poll(10, 0.1)
        assert engine.losses == [{f"{topic}:0"}]
        await engine.commit()
        await source.keepalive()
        await feed(kafka.bootstrap_servers, topic, [b"c"])
        engine.take(await read(source, 1))
    assert engine.raws == [b"a", b"b", b"c"]


async def test_static_membership_returns_without_a_rebalance(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    topic, group = await kafka_topic(partitions=2), group_name()
    other, engine = Engine(), Engine()
    settings = {"group_id": group, "fast_records": fast}
    async with (
        member(kafka, topic, other, group_instance_id="other", **settings),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(drive, other, tasks.cancel_scope)
        await until(lambda: len(other.owned) == 2)
        for _ in range(2):
            async with member(kafka, topic, engine, group_instance_id="one", **settings) as source:
                with anyio.fail_after(30):
                    while len(engine.owned) != 1 or len(other.owned) != 1:
                        engine.take(await source.poll(10, 0.05))
                mine = engine.owned.copy()
            engine.owned.clear()
        tasks.cancel_scope.cancel()
    assert len(other.revocations) == 1, "only when the other came for the first time"
    assert mine.isdisjoint(other.owned)


async def test_keepalive_outlasts_max_poll_interval(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    topic = await kafka_topic()
    await feed(kafka.bootstrap_servers, topic, [b"%d" % n for n in range(100)])
    engine = Engine()
    async with member(kafka, topic, engine, fast_records=fast, **SHORT) as source:
        engine.take(await read(source, 10, max_events=10))
        for _ in range(20):
            await anyio.sleep(0.15)
            await source.keepalive()
        assert coordinator(source).generation > 0
        engine.take(await read(source, 90))
    assert engine.raws == [b"%d" % n for n in range(100)]
    assert engine.losses == engine.revocations == []


async def test_without_keepalive_the_group_goes_on_alone(
    kafka: KafkaServer, kafka_topic: TopicFactory, fast: bool
) -> None:
    topic = await kafka_topic()
    await feed(kafka.bootstrap_servers, topic, [b"%d" % n for n in range(100)])
    engine = Engine()
    async with member(kafka, topic, engine, fast_records=fast, **SHORT) as source:
        engine.take(await read(source, 10, max_events=10))
        await engine.commit()
        await until(lambda: engine.losses)
        engine.take(await read(source, 90))
    assert engine.raws == [b"%d" % n for n in range(100)]
