"""The shipped example on real servers: HTTP to Kafka and on to ClickHouse, in one daemon."""

from pathlib import Path

import aiohttp
import anyio
import msgspec
from anyio import to_thread

from tests.integration.kafka_to_clickhouse import event, produce, stored, until
from tests.services.clickhouse import ClickHouseServer
from tests.services.clients import create_topic
from tests.services.kafka import KafkaServer
from tests.services.server import free_ports
from tests.services.streamd import Streamd

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "ingest.toml"
NDJSON = {"Content-Type": "application/x-ndjson", "X-API-Key": "secret"}


async def test_http_to_kafka_to_clickhouse_with_dead_letters(
    tmp_path: Path,
    private_kafka: KafkaServer,
    clickhouse: ClickHouseServer,
    clickhouse_database: str,
) -> None:
    await create_topic(private_kafka, 4, name="events")
    await create_topic(private_kafka, 1, name="dlq-events")
    (port,) = free_ports(1)
    text = EXAMPLE.read_text()
    configuration = text.replace('"127.0.0.1:8001"', '"{admin}"')
    assert configuration != text
    # Answers in time for a test where Kafka is away.
    configuration = configuration.replace('plugin = "http"', 'plugin = "http"\nanswer_timeout="2s"')
    environment = {
        "STATE_DIRECTORY": str(tmp_path / "state"),
        "KAFKA_BOOTSTRAP_SERVERS": private_kafka.bootstrap_servers,
        "CLICKHOUSE_URL": clickhouse.url_of(clickhouse_database),
        "HTTP_LISTEN": f"127.0.0.1:{port}",
        "API_KEY": "secret",
    }
    url = f"http://127.0.0.1:{port}/ingest"
    with Streamd(tmp_path / "d", configuration, environment) as streamd:
        await until(lambda: "Listening" in streamd.last_words(), 30, "it listens")
        async with aiohttp.ClientSession() as session:

            async def send(*raws: bytes) -> int:
                async with session.post(url, data=b"\n".join(raws), headers=NDJSON) as answer:
                    await answer.read()
                    return answer.status

            assert await send(*map(event, range(500))) == 200
            assert await send(event(500), event(501, source="")) == 422
            await until(
                lambda: stored(clickhouse, clickhouse_database) == (501, 501), 60, "all rows"
            )
            # What others write to the topic is checked as well.
            await produce(private_kafka, "events", [msgspec.json.encode({"id": "bad"})], 1)
            await until(lambda: streamd.metric("dlq_messages_total") == 1, 30, "a dead letter")

            await to_thread.run_sync(private_kafka.pause)
            assert await send(event(502)) == 503
            await to_thread.run_sync(private_kafka.resume)
            with anyio.fail_after(60):
                while await send(event(502)) != 200:
                    pass
        rows = f"SELECT count(DISTINCT id) AS n FROM {clickhouse_database}.ingested_data"
        await until(lambda: int(clickhouse.query(rows)[0]["n"]) == 502, 60, "the late one too")
        streamd.stop()
