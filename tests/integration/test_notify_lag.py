"""What `systemctl status` says of the lag, while a sink is down and once it is back."""

import re
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tests.integration.kafka_to_clickhouse import event, produce, until
from tests.services.clients import TopicFactory
from tests.services.kafka import KafkaServer
from tests.services.notified import Manager, Notified, says

CONFIGURATION = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"
plugins_dir = ["plugins.d"]

[pipeline.events]
batch_events = 100
max_events = 500

[pipeline.events.source]
plugin = "kafka"
bootstrap_servers = "@bootstrap"
topics = ["@topic"]
group_id = "@topic"

[[pipeline.events.sink]]
id = "out"
plugin = "hangs"
says = "the other side is away"
batch.rows = 100
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


async def test_the_lag_is_told_while_a_sink_is_down_and_when_it_is_gone(
    tmp_path: Path, kafka: KafkaServer, kafka_topic: TopicFactory, manager: Manager
) -> None:
    topic = await kafka_topic(partitions=1)
    text = CONFIGURATION.replace("@bootstrap", kafka.bootstrap_servers).replace("@topic", topic)

    async def hears(value: str) -> str:
        heard = await anyio.to_thread.run_sync(manager.hear, says("STATUS", value))
        return heard[-1]["STATUS"]

    with Notified(tmp_path / "d", text, manager.path, watchdog=1) as streamd:
        await produce(kafka, topic, map(event, range(1000)), 1, chunk=100)
        await until(lambda: streamd.status()["events"]["in_flight_events"] == 500, 30, "full")
        # Nothing is fetched any more: these are known only to who asks the broker for them.
        await produce(kafka, topic, map(event, range(1000, 3000)), 1, chunk=100)
        told = await hears("lag 2500")
        assert re.search(r"events: running, \S+/s, 500 read, lag 2500, \S+ behind", told), told
        assert "the other side is away" in await hears("out: ")
        (streamd.folder / "go").touch()
        assert "3000 read, lag 0, up to date" in await hears("lag 0")
