"""Events from Kafka to ClickHouse on real servers: all there, whatever happens on the way."""

import random
from pathlib import Path

import anyio
import msgspec
from anyio import to_thread

from tests.integration.kafka_to_clickhouse import daemon, event, produce, stored, until
from tests.services.clickhouse import ClickHouseServer
from tests.services.clients import TopicFactory
from tests.services.kafka import KafkaServer

RETRY_THEN_BLOCK = """
[[pipeline.events.policy]]
plugin = "retry"
initial = "100ms"
[[pipeline.events.policy]]
plugin = "block"
"""


async def test_a_million_events_are_all_there_once(
    tmp_path: Path,
    kafka: KafkaServer,
    clickhouse: ClickHouseServer,
    kafka_topic: TopicFactory,
    clickhouse_database: str,
) -> None:
    total = 1_000_000
    topic = await kafka_topic(partitions=4)
    await produce(kafka, topic, map(event, range(total)), partitions=4)
    streamd = daemon(tmp_path / "d", kafka, clickhouse, topic, clickhouse_database)
    with streamd:
        await until(
            lambda: streamd.metric("consumer_messages_processed_total") >= total, 120, "processed"
        )
        streamd.stop()
    assert stored(clickhouse, clickhouse_database) == (total, total)
    (row,) = clickhouse.query(
        "SELECT payload, event_type, source, validation_status, timestamp"
        f" FROM {clickhouse_database}.ingested_data WHERE id = 'evt_0000042'"
    )
    payload = msgspec.json.decode(row.pop("payload"))
    assert payload == msgspec.json.decode(event(42))["payload"]
    assert row == {
        "event_type": "user_action",
        "source": "web_app",
        "validation_status": "valid",
        "timestamp": "2025-11-19T10:30:00Z",
    }


async def test_one_poison_event_lands_alone_in_the_dead_letters(
    tmp_path: Path,
    kafka: KafkaServer,
    clickhouse: ClickHouseServer,
    kafka_topic: TopicFactory,
    clickhouse_database: str,
) -> None:
    poison = event(7777, event_type="no_such_type")
    events = [event(n) if n != 7777 else poison for n in range(10_000)]
    topic = await kafka_topic(partitions=1)
    await produce(kafka, topic, events, partitions=1)
    streamd = daemon(tmp_path / "d", kafka, clickhouse, topic, clickhouse_database)
    with streamd:
        await until(
            lambda: stored(clickhouse, clickhouse_database)[0] >= 9_999, 60, "all good rows stored"
        )
        streamd.stop()
        files = list((tmp_path / "d" / "var" / "dead_letters").rglob("*.json"))
        documents = [msgspec.json.decode(path.read_bytes()) for path in files]
    assert stored(clickhouse, clickhouse_database) == (9_999, 9_999)
    (document,) = documents
    assert document["original_message"] == msgspec.json.decode(poison)
    assert document["retry_count"] == 0
    assert document["metadata"] == {"partition": 0, "offset": 7777}
    assert document["topic"] == topic


async def test_an_event_that_passes_with_a_warning_is_marked_in_its_row(
    tmp_path: Path,
    kafka: KafkaServer,
    clickhouse: ClickHouseServer,
    kafka_topic: TopicFactory,
    clickhouse_database: str,
) -> None:
    topic = await kafka_topic()
    await produce(kafka, topic, [event(1), event(2, event_type="no_such_type")], partitions=1)
    with daemon(
        tmp_path / "d", kafka, clickhouse, topic, clickhouse_database, mode="warn"
    ) as streamd:
        await until(lambda: stored(clickhouse, clickhouse_database)[0] == 2, 30, "both rows")
        streamd.stop()
    found = clickhouse.query(
        f"SELECT id, validation_status FROM {clickhouse_database}.ingested_data ORDER BY id"
    )
    assert found == [
        {"id": "evt_0000001", "validation_status": "valid"},
        {"id": "evt_0000002", "validation_status": "failed"},
    ]


async def test_a_row_that_only_the_server_refuses_is_found_by_bisection(
    tmp_path: Path,
    kafka: KafkaServer,
    clickhouse: ClickHouseServer,
    kafka_topic: TopicFactory,
    clickhouse_database: str,
) -> None:
    clickhouse.query(
        f"CREATE TABLE {clickhouse_database}.ingested_data (id String, timestamp String,"
        " payload String, event_type String, source String, validation_status String,"
        " number UInt32 MATERIALIZED toUInt32(source)) ENGINE = MergeTree() ORDER BY id"
    )
    events = [event(n, source="1" if n != 6543 else "not a number") for n in range(10_000)]
    topic = await kafka_topic(partitions=1)
    await produce(kafka, topic, events, partitions=1)
    streamd = daemon(tmp_path / "d", kafka, clickhouse, topic, clickhouse_database)
    with streamd:
        await until(lambda: streamd.metric("dlq_messages_total") >= 1, 60, "a dead letter")
        await until(
            lambda: streamd.status()["events"]["in_flight_events"] == 0, 30, "all of it committed"
        )
        streamd.stop()
        files = list((tmp_path / "d" / "var" / "dead_letters").rglob("*.json"))
        documents = [msgspec.json.decode(path.read_bytes()) for path in files]
    assert stored(clickhouse, clickhouse_database) == (9_999, 9_999)
    (document,) = documents
    assert document["original_message"]["id"] == "evt_0006543"
    assert document["stage"] == "clickhouse"
    assert document["retry_count"] == 0


async def test_a_clickhouse_that_is_away_holds_the_source_back_and_loses_nothing(
    tmp_path: Path,
    kafka: KafkaServer,
    private_clickhouse: ClickHouseServer,
    kafka_topic: TopicFactory,
) -> None:
    total = 100_000
    topic = await kafka_topic(partitions=2)
    streamd = daemon(
        tmp_path / "d",
        kafka,
        private_clickhouse,
        topic,
        "wotr",
        policies=RETRY_THEN_BLOCK,
        options="max_events = 20000",
    )
    with streamd:
        await produce(kafka, topic, map(event, range(total // 2)), partitions=2)
        await until(lambda: stored(private_clickhouse, "wotr")[1] > 0, 60, "first rows")
        await to_thread.run_sync(private_clickhouse.stop)
        await produce(kafka, topic, map(event, range(total // 2, total)), partitions=2)
        await until(
            lambda: bool(streamd.status()["events"]["stages"]["clickhouse"]["problem"]),
            30,
            "the sink says that it is down",
        )
        held = streamd.status()["events"]["read"]
        await anyio.sleep(3)
        assert streamd.status()["events"]["read"] <= held + 25_000
        await to_thread.run_sync(private_clickhouse.start)
        await until(lambda: stored(private_clickhouse, "wotr")[1] >= total, 90, "all rows stored")
        assert not list((tmp_path / "d" / "var").rglob("dlq_*.json"))
        streamd.stop()
    rows, ids = stored(private_clickhouse, "wotr")
    assert ids == total
    assert rows - ids <= 20_000


async def test_kill_9_at_random_moments_loses_nothing(
    tmp_path: Path,
    kafka: KafkaServer,
    clickhouse: ClickHouseServer,
    kafka_topic: TopicFactory,
    clickhouse_database: str,
) -> None:
    total, kills, in_flight = 800_000, 20, 30_000
    seed = random.SystemRandom().randrange(10**6)
    moments = random.Random(seed)
    lives: list[int] = []
    topic = await kafka_topic(partitions=4)
    streamd = daemon(
        tmp_path / "d",
        kafka,
        clickhouse,
        topic,
        clickhouse_database,
        options=f'max_events = {in_flight}\nepoch_time = "200ms"\nepoch_events = 5000',
        # A static member takes its own place again at once: every life gets to work.
        source='group_instance_id = "one"',
    )
    with streamd:
        async with anyio.create_task_group() as group:
            group.start_soon(produce, kafka, topic, map(event, range(total)), 4, 200)
            for life in range(kills):
                if life % 2:  # every other life gets to work, however slow the machine is
                    await until(
                        lambda: (
                            stored(clickhouse, clickhouse_database)[1] > min(lives[-1], total - 1)
                        ),
                        60,
                        f"life {life} stores something (seed {seed})",
                    )
                await anyio.sleep(moments.uniform(0.1, 1.0))
                await to_thread.run_sync(streamd.kill)
                lives.append(stored(clickhouse, clickhouse_database)[1])
                await to_thread.run_sync(streamd.start)
        await until(
            lambda: stored(clickhouse, clickhouse_database)[1] >= total,
            120,
            f"all ids stored (seed {seed})",
        )
        streamd.stop()
    rows, ids = stored(clickhouse, clickhouse_database)
    assert ids == total, f"seed {seed}"
    # Each kill may repeat what was in flight, and what a write had stored of it; no more.
    assert rows - ids <= kills * in_flight, f"seed {seed}"
    print(f"\n{kills} kills, {rows - ids} duplicates of {total} events (seed {seed})")


async def test_two_daemons_share_a_group_while_one_is_killed_and_one_is_added(
    tmp_path: Path,
    kafka: KafkaServer,
    clickhouse: ClickHouseServer,
    kafka_topic: TopicFactory,
    clickhouse_database: str,
) -> None:
    total = 200_000
    topic = await kafka_topic(partitions=4)
    first, second, third = (
        daemon(tmp_path / name, kafka, clickhouse, topic, clickhouse_database)
        for name in ("first", "second", "third")
    )
    with first, second:
        await produce(kafka, topic, map(event, range(total // 2)), partitions=4)
        await until(
            lambda: stored(clickhouse, clickhouse_database)[1] > total // 10, 60, "some rows"
        )
        await to_thread.run_sync(second.kill)
        await produce(kafka, topic, map(event, range(total // 2, total)), partitions=4)
        with third:
            await until(
                lambda: stored(clickhouse, clickhouse_database)[1] >= total, 90, "all rows stored"
            )
            third.stop()
        first.stop()
    assert stored(clickhouse, clickhouse_database)[1] == total
