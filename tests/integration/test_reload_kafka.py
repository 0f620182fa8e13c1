"""A reload that does not concern the Kafka source leaves its membership of the group alone."""

import json
import signal
from pathlib import Path
from typing import Any

import anyio
from aiokafka.admin import AIOKafkaAdminClient

from tests.integration.kafka_to_clickhouse import event, produce, until
from tests.services.clients import TopicFactory
from tests.services.kafka import KafkaServer
from tests.services.streamd import Streamd

CONFIGURATION = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"

[pipeline.events.source]
plugin = "kafka"
bootstrap_servers = "@bootstrap"
topics = ["@topic"]
group_id = "@topic"

[[pipeline.events.transform]]
plugin = "map"
set = { by = "'@mark'" }

[[pipeline.events.sink]]
id = "out"
plugin = "file"
path = "out.jsonl"
"""


async def test_the_members_and_the_generation_of_the_group_stay(
    tmp_path: Path, kafka: KafkaServer, kafka_topic: TopicFactory
) -> None:
    topic = await kafka_topic(partitions=3)

    def marked(mark: str) -> str:
        text = CONFIGURATION.replace("@bootstrap", kafka.bootstrap_servers)
        return text.replace("@topic", topic).replace("@mark", mark)

    with Streamd(tmp_path / "d", marked("0")) as streamd:
        await produce(kafka, topic, map(event, range(300)), 3, chunk=50)
        await until(lambda: streamd.status()["events"]["stages"]["out"]["events"] == 300, 30, "out")
        before = await group_of(kafka, topic)
        for turn in range(1, 6):
            streamd.configure(marked(str(turn)))
            streamd._signal(signal.SIGHUP)
            await until(lambda turn=turn: reloads(streamd) == turn, 20, "reloaded")  # type: ignore[misc]
            first = 300 * turn
            await produce(kafka, topic, map(event, range(first, first + 300)), 3, chunk=50)
        await until(lambda: streamd.status()["events"]["read"] == 1800, 30, "all read")
        await anyio.sleep(1)
        assert await group_of(kafka, topic) == before
        lines = streamd.log.read_text()
        assert lines.count("Partitions assigned") == 1
        streamd.stop()
        rows = list(map(json.loads, (streamd.folder / "out.jsonl").read_text().splitlines()))
    assert len(rows) == 1800
    assert len({row["id"] for row in rows}) == 1800
    assert {row["by"] for row in rows} == {str(turn) for turn in range(6)}


def reloads(streamd: Streamd) -> int:
    return streamd.log.read_text().count('"message":"Reloaded"')


async def group_of(kafka: KafkaServer, group: str) -> Any:
    """State and members of a group; a new generation would have new assignments or members."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups([group])
        _, _, state, _, protocol, members, *_ = answer.groups[0]
        return state, protocol, [(member[0], member[1], member[4]) for member in members]
    finally:
        await admin.close()
