"""`streamd check --connect` against real servers: what works, and what does not and why."""

import os
import subprocess
import sys
from pathlib import Path

from tests.services.clickhouse import ClickHouseServer
from tests.services.clients import TopicFactory
from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "kafka-to-clickhouse.toml"


async def test_each_stage_is_probed(
    tmp_path: Path,
    kafka: KafkaServer,
    clickhouse: ClickHouseServer,
    minio: MinioServer,
    kafka_topic: TopicFactory,
    clickhouse_database: str,
) -> None:
    topic = await kafka_topic()
    config = tmp_path / "streamd.toml"
    config.write_text(EXAMPLE.read_text().replace('["events"]', f'["{topic}"]'))
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_DLQ_TOPIC": topic,
        "CLICKHOUSE_URL": clickhouse.url_of(clickhouse_database),
        "MINIO_ENDPOINT": minio.endpoint,
        "MINIO_ROOT_USER": minio.access_key,
        "MINIO_ROOT_PASSWORD": minio.secret_key,
    }
    good = check(config, environment)
    assert good.returncode == 0, good.stdout + good.stderr
    for stage in ("kafka", "clickhouse", "dlq_objects", "dlq_topic"):
        assert stage in good.stdout
    bad = check(config, environment | {"CLICKHOUSE_URL": "clickhouse://127.0.0.1:1/x"})
    assert bad.returncode == 1
    assert minio.secret_key not in good.stdout + good.stderr + bad.stdout + bad.stderr


def check(config: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).parent / "streamd"
    return subprocess.run(
        [str(program), "check", "--connect", "--config", str(config)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
