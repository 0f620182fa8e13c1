"""Records read from Kafka are freed without the garbage collector, good and bad ones."""

from pathlib import Path

import anyio
from aiokafka import AIOKafkaProducer

from streamd.engine.supervisor import Supervisor
from streamd.settings.loader import load
from streamd.testing.harness import surroundings
from streamd.testing.memory import MemoryStore
from tests.garbage import uncollected
from tests.services.clients import TopicFactory
from tests.services.kafka import KafkaServer

FEW, MANY = 5, 65  # fetches

CONFIG = """
[pipeline.events]
epoch_time = "50ms"
drop_streams = ["main"]

[pipeline.events.source]
plugin = "kafka"
bootstrap_servers = "BROKER"
topics = ["TOPIC"]
group_id = "TOPIC"
start = "earliest"
max_partition_fetch_bytes = "1KiB"

[[pipeline.events.validate]]
plugin = "event"

[[pipeline.events.policy]]
plugin = "dead_letter"

[[pipeline.events.sink]]
id = "failed"
plugin = "kafka"
inputs = ["dead_letters"]
bootstrap_servers = "BROKER"
topic = "TOPIC-failed"
batch = { time = "10ms" }
"""


async def fill(kafka: KafkaServer, topic: str, batches: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        for _ in range(batches):
            batch = producer.create_batch()
            for value in (b"{}", b'{"torn', b"x" * 1000):
                batch.append(key=None, value=value, timestamp=None)
            batch.close()
            await (await producer.send_batch(batch, topic, partition=0))


async def test_no_fetch_leaves_anything_to_collect(
    kafka: KafkaServer, kafka_topic: TopicFactory, tmp_path: Path
) -> None:
    async def left_by(batches: int) -> int:
        topic = await kafka_topic()
        await kafka_topic(name=f"{topic}-failed")
        await fill(kafka, topic, batches)
        path = tmp_path / "streamd.toml"
        path.write_text(CONFIG.replace("BROKER", kafka.bootstrap_servers).replace("TOPIC", topic))
        (spec,) = load(path).pipelines
        supervisor = Supervisor(spec, surroundings(MemoryStore(), state_dir=tmp_path))
        with anyio.fail_after(60), uncollected() as count:
            async with anyio.create_task_group() as group:
                group.start_soon(supervisor.run)
                await supervisor.running.wait()
                while supervisor.status().stages["failed"].events != 3 * batches:  # noqa: ASYNC110
                    await anyio.sleep(0.02)
                left = count()
                supervisor.stop()
        return left

    await left_by(FEW)  # which fills the caches
    few = await left_by(FEW)
    assert await left_by(MANY) - few < (MANY - FEW) / 2
