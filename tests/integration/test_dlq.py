"""Dead letters of an outage go back into ClickHouse, from the bucket and from the topic."""

import asyncio
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

from anyio import to_thread

from tests.integration.kafka_to_clickhouse import COUNTS_OFTEN, event, produce, stored, until
from tests.services.clickhouse import ClickHouseServer
from tests.services.clients import TopicFactory
from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer
from tests.services.streamd import Streamd

CONFIGURATION = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"

[pipeline.events.source]
plugin = "kafka"
bootstrap_servers = "@kafka"
topics = ["@topic"]
group_id = "@topic"

[[pipeline.events.validate]]
plugin = "event"

[[pipeline.events.policy]]
plugin = "retry"
max_retries = 1
initial = "100ms"

[[pipeline.events.policy]]
plugin = "dead_letter"

[[pipeline.events.sink]]
id = "clickhouse"
plugin = "clickhouse"
url = "@clickhouse"
table = "ingested_data"
create_table = true

[[pipeline.events.sink]]
id = "copy"
plugin = "sqlite"
path = "copy.db"
once = "off"

[[pipeline.events.sink]]
id = "bucket"
inputs = ["dead_letters"]
plugin = "s3"
endpoint = "@minio"
access_key = "@access"
secret_key = "@secret"
bucket = "@bucket"

[[pipeline.events.sink]]
id = "topic"
inputs = ["dead_letters"]
plugin = "kafka"
bootstrap_servers = "@kafka"
topic = "@dead"
"""


OWN = {"id", "payload", "created_at"}
"""Columns in which an event of an outage may differ from any other."""


class Outages:
    """A daemon whose ClickHouse goes away and comes back."""

    def __init__(self, streamd: Streamd, kafka: KafkaServer, topic: str, db: ClickHouseServer):
        self.streamd = streamd
        self._kafka = kafka
        self._topic = topic
        self._clickhouse = db

    async def bring(self, first: int, end: int) -> None:
        await produce(self._kafka, self._topic, map(event, range(first, end)), 1)

    async def outage(self, first: int, end: int) -> None:
        """These events come while ClickHouse is away, and become dead letters."""
        buried = self.streamd.metric("dlq_messages_total")
        await to_thread.run_sync(self._clickhouse.stop)
        await self.bring(first, end)
        await until(
            lambda: self.streamd.metric("dlq_messages_total") >= buried + end - first, 60, "buried"
        )
        await until(lambda: self.status()["in_flight_events"] == 0, 30, "committed")
        await to_thread.run_sync(self._clickhouse.start)

    def status(self) -> dict[str, int]:
        status: dict[str, int] = self.streamd.status()["events"]
        return status

    def copies(self) -> tuple[int, int]:
        with sqlite3.connect(self.streamd.folder / "copy.db") as db:
            found = db.execute("SELECT count(*), count(DISTINCT id) FROM events").fetchone()
        db.close()
        return int(found[0]), int(found[1])

    async def dlq(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "streamd"),
            "dlq",
            *arguments,
            cwd=self.streamd.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, (out, err)
        return out.decode()


async def test_what_an_outage_left_is_stored_exactly_once(
    tmp_path: Path,
    kafka: KafkaServer,
    kafka_topic: TopicFactory,
    minio: MinioServer,
    minio_bucket: str,
    private_clickhouse: ClickHouseServer,
) -> None:
    topic, dead = await kafka_topic(), await kafka_topic()
    configuration = CONFIGURATION
    for name, value in {
        "@kafka": kafka.bootstrap_servers,
        "@topic": topic,
        "@dead": dead,
        "@clickhouse": private_clickhouse.url_of("wotr"),
        "@minio": minio.endpoint,
        "@access": minio.access_key,
        "@secret": minio.secret_key,
        "@bucket": minio_bucket,
    }.items():
        configuration = configuration.replace(name, value)
    with Streamd(tmp_path / "d", configuration, patience=COUNTS_OFTEN) as streamd:
        rig = Outages(streamd, kafka, topic, private_clickhouse)
        await rig.bring(0, 100)
        await until(lambda: stored(private_clickhouse, "wotr") == (100, 100), 30, "first rows")

        await rig.outage(100, 150)
        await until(lambda: streamd.metric("dlq_backlog_size") == 50, 30, "the backlog is counted")
        assert await rig.dlq("replay", "--batch", "20") == "50 done\n"
        assert stored(private_clickhouse, "wotr") == (150, 150)
        assert await rig.dlq("list", "--sink", "bucket") == ""
        assert json.loads(await rig.dlq("stats", "--sink", "topic", "--json"))["total"] == 50
        assert await rig.dlq("discard", "--sink", "topic", "--all") == "50 letters discarded\n"

        await rig.outage(150, 200)
        assert await rig.dlq("replay", "--sink", "topic", "--limit", "20") == "20 done\n"
        assert json.loads(await rig.dlq("stats", "--sink", "topic", "--json"))["total"] == 30
        assert await rig.dlq("replay", "--sink", "topic") == "30 done\n"
        assert stored(private_clickhouse, "wotr") == (200, 200)
        assert await rig.dlq("list", "--sink", "topic") == ""
        assert await rig.dlq("archive", "kept", "--sink", "bucket") == (
            "50 letters archived in kept\n"
        )

        assert rig.copies() == (200, 200)
        replayed = rows_of(private_clickhouse)
        like = replayed["evt_0000001"]
        for number in (101, 151):
            row = replayed[f"evt_{number:07}"]
            assert {name for name in row if row[name] != like[name]} <= OWN, (row, like)
            mine = like["payload"].replace('"number":1}', f'"number":{number}}}')
            mine = mine.replace('"user1"', f'"user{number % 100}"')
            assert row["payload"] == mine
        await until(lambda: streamd.metric("dlq_backlog_size") == 0, 30, "the backlog is true")
        streamd.stop()


def rows_of(server: ClickHouseServer) -> dict[str, dict[str, Any]]:
    found = server.query("SELECT * FROM wotr.ingested_data")
    return {row["id"]: row for row in found}
