"""Small helpers that speak to the servers with the libraries that streamd itself uses."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, Protocol

import aioboto3
import anyio
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from botocore.config import Config

from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer


class TopicFactory(Protocol):
    """The fixture kafka_topic: `topic = await kafka_topic(partitions=4)`."""

    def __call__(
        self,
        partitions: int = 1,
        config: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> Awaitable[str]: ...


async def create_topic(
    server: KafkaServer,
    partitions: int = 1,
    config: Mapping[str, str] | None = None,
    name: str | None = None,
) -> str:
    """A fresh topic that is ready for use; its name is returned.

    `retention.ms` is -1 unless given: events in tests carry old dates and Kafka would delete them.
    """
    topic = name or f"test-{uuid.uuid4().hex[:12]}"
    settings = {"retention.ms": "-1", **(config or {})}
    admin = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap_servers)
    await admin.start()
    try:
        reply = await admin.create_topics(
            [NewTopic(topic, partitions, replication_factor=1, topic_configs=settings)]
        )
        failed = [error for error in reply.topic_errors if error[1]]
        if failed:
            raise RuntimeError(f"topic not created: {failed}")
        await _until_led(admin, topic, partitions)
    finally:
        await admin.close()
    return topic


async def _until_led(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> None:
    """The answer to create_topics comes before the broker itself knows the topic."""
    with anyio.fail_after(10):
        while True:
            (found,) = await admin.describe_topics([topic])
            if found["error_code"] == 0 and len(found["partitions"]) == partitions:
                return
            await anyio.sleep(0.02)


@contextlib.asynccontextmanager
async def s3_client(server: MinioServer) -> AsyncIterator[Any]:
    """An S3 client for the server; untyped, as aiobotocore makes its methods at run time."""
    session = aioboto3.Session(
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
    )
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    async with session.client("s3", endpoint_url=server.endpoint, config=config) as client:
        yield client
