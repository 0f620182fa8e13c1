"""Against a real store."""

from __future__ import annotations

import gzip
import uuid
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import msgspec
import pytest

from streamd.api import Backlog, Duration, Misconfigured, Rejected, Retryable, Secret, Sink
from streamd.testing import batch_of, sample_event
from streamd.testing.contracts import SinkContract, SinkSubject, sink_context
from streamd_s3 import S3Sink
from streamd_s3.client import connect
from tests.services.minio import MinioServer
from tests.services.server import free_ports

DEAD = ("dead_letters",)


def dead_letter(number: int, text: str = "click") -> dict[str, Any]:
    return {
        "dlq_id": f"dlq_1763548200{number:03}_evt_{number}",
        "original_message": sample_event(number, text),
    }


def s3_sink(
    server: MinioServer, name: str, inputs: tuple[str, ...] = ("main",), **settings: Any
) -> S3Sink:
    config = S3Sink.Config(
        **{
            "bucket": name,
            "endpoint": server.endpoint.removeprefix("http://"),
            "access_key": Secret(server.access_key),
            "secret_key": Secret(server.secret_key),
            **settings,
        }
    )
    return S3Sink(config, sink_context(inputs=inputs))


def client_of(server: MinioServer) -> AbstractAsyncContextManager[Any]:
    return connect(
        endpoint=server.endpoint,
        region=server.region,
        access_key=server.access_key,
        secret_key=server.secret_key,
        path_style=True,
        connections=16,
        timeout=30.0,
    )


async def contents(server: MinioServer, bucket: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    async def get(key: str) -> None:
        answer = await client.get_object(Bucket=bucket, Key=key)
        found[key] = await answer["Body"].read()

    async with client_of(server) as client:
        async for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            async with anyio.create_task_group() as group:
                for item in page.get("Contents", ()):
                    group.start_soon(get, item["Key"])
    return found


class Archive(SinkSubject):
    replay = "overwrites"

    def __init__(self, server: MinioServer, bucket: str) -> None:
        self.server, self.bucket = server, bucket

    def make(self) -> Sink:
        return s3_sink(self.server, self.bucket)

    async def stored(self) -> list[Any]:
        bodies = (await contents(self.server, self.bucket)).values()
        return [
            msgspec.json.decode(line)
            for body in bodies
            for line in gzip.decompress(body).splitlines()
        ]

    def poison(self, number: int) -> Any:
        return {"id": f"evt_{number}", "value": object()}

    def batch(self, values: list[Any], **place: Any) -> Any:
        return batch_of(values, raws=[b"{}"] * len(values), **place)


class DeadLetters(Archive):
    def make(self) -> Sink:
        return s3_sink(self.server, self.bucket, DEAD)

    async def stored(self) -> list[Any]:
        bodies = (await contents(self.server, self.bucket)).values()
        return [msgspec.json.decode(body) for body in bodies]

    def event(self, number: int, text: str = "click") -> Any:
        return dead_letter(number, text)

    def poison(self, number: int) -> Any:
        return {"dlq_id": f"dlq_1_{number}", "value": object()}


class TestArchive(SinkContract):
    @pytest.fixture
    def subject(self, minio: MinioServer, minio_bucket: str) -> Archive:
        return Archive(minio, minio_bucket)


class TestDeadLetters(SinkContract):
    @pytest.fixture
    def subject(self, minio: MinioServer, minio_bucket: str) -> DeadLetters:
        return DeadLetters(minio, minio_bucket)


async def test_a_dead_letter_has_the_name_of_its_time(
    minio: MinioServer, minio_bucket: str
) -> None:
    letter = {"dlq_id": "dlq_1700318400123_a%2Fb%20c", "reason": "malformed"}
    async with s3_sink(minio, minio_bucket, DEAD) as sink:
        await sink.write(batch_of([letter], timestamps=[1_700_318_400_123]))
        assert isinstance(sink, Backlog)
        assert await sink.backlog() == 1
    found = await contents(minio, minio_bucket)
    assert list(found) == ["failed/2023/11/18/dlq_1700318400123_a%2Fb%20c.json"]
    async with client_of(minio) as client:
        head = await client.head_object(Bucket=minio_bucket, Key=next(iter(found)))
    assert head["ContentType"] == "application/json"


async def test_backlog_counts_beyond_one_page(minio: MinioServer, minio_bucket: str) -> None:
    async with s3_sink(minio, minio_bucket, DEAD, concurrency=64) as sink:
        await sink.write(batch_of([dead_letter(n) for n in range(1001)]))
        assert await sink.backlog() == 1001


async def test_a_bucket_is_created_on_request(minio: MinioServer) -> None:
    name = f"test-{uuid.uuid4().hex[:12]}"
    missing = s3_sink(minio, name)
    with pytest.raises(Misconfigured, match="create_bucket"):
        await missing.healthcheck()
    with pytest.raises(Misconfigured, match="create_bucket"):
        async with missing:
            pass
    sink = s3_sink(minio, name, create_bucket=True)
    assert "will be created" in await sink.healthcheck()
    with pytest.raises(Misconfigured):
        await missing.healthcheck()
    for _ in range(2):
        async with sink:
            pass
    assert "is there" in await missing.healthcheck()


@pytest.mark.parametrize(
    "settings",
    [
        {"access_key": Secret("nobody")},
        {"secret_key": Secret("wrong-secret")},
        {"bucket": "Not_A_Bucket"},
    ],
)
async def test_what_a_person_has_to_mend(
    minio: MinioServer, minio_bucket: str, settings: dict[str, Any]
) -> None:
    sink = s3_sink(minio, minio_bucket, **settings)
    with pytest.raises(Misconfigured):
        await sink.healthcheck()
    with pytest.raises(Misconfigured):
        async with sink:
            pass


async def test_a_bucket_that_vanishes_is_no_ones_dead_letter(minio: MinioServer) -> None:
    name = f"test-{uuid.uuid4().hex[:12]}"
    async with s3_sink(minio, name, create_bucket=True) as sink:
        async with client_of(minio) as client:
            await client.delete_bucket(Bucket=name)
        with pytest.raises(Misconfigured, match="NoSuchBucket"):
            await sink.write(batch_of([sample_event(1)]))


async def test_an_object_that_is_refused_names_its_rows(
    minio: MinioServer, minio_bucket: str
) -> None:
    long = "/".join(["{payload.x}"] * 8)  # a key ends at 1024 bytes
    events = [{"id": str(n), "payload": {"x": "x" * (150 if n == 1 else 5)}} for n in range(3)]
    async with s3_sink(minio, minio_bucket, objects="event", key=f"{long}/{{id}}") as sink:
        with pytest.raises(Rejected) as caught:
            await sink.write(batch_of(events))
    assert [(row, reject.reason) for row, reject in caught.value.rows.items()] == [
        (1, "object_refused")
    ]
    assert len(await contents(minio, minio_bucket)) == 2


async def test_a_store_that_is_down_is_tried_again(private_minio: MinioServer) -> None:
    server = private_minio
    async with s3_sink(server, "archive", create_bucket=True, timeout=Duration("2s")) as sink:
        await sink.write(batch_of([sample_event(1)]))
        await anyio.to_thread.run_sync(server.stop)
        with pytest.raises(Retryable):
            await sink.write(batch_of([sample_event(2)], first=1))
        await anyio.to_thread.run_sync(server.start)
        await sink.write(batch_of([sample_event(2)], first=1))
    assert len(await contents(server, "archive")) == 2


async def test_a_store_that_is_down_at_start() -> None:
    (port,) = free_ports(1)
    config = S3Sink.Config(
        bucket="archive",
        endpoint=f"127.0.0.1:{port}",
        access_key=Secret("a"),
        secret_key=Secret("b"),
        create_bucket=True,
        timeout=Duration("1s"),
    )
    sink = S3Sink(config, sink_context())
    with pytest.raises(Retryable):
        async with sink:
            pass
    with pytest.raises(Retryable):
        await sink.healthcheck()
