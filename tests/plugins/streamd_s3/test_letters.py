"""A bucket as a store of dead letters."""

from __future__ import annotations

from typing import Any

import pytest

from streamd.api import Misconfigured, Secret, Sink
from streamd.testing.contracts.dead_letters import (
    DeadLettersContract,
    DeadLettersSubject,
    dead_letters_context,
    document,
    letters_of,
)
from streamd_s3 import S3Sink
from tests.services.clients import s3_client
from tests.services.minio import MinioServer


class BucketSubject(DeadLettersSubject):
    def __init__(self, server: MinioServer, bucket: str, **settings: Any) -> None:
        self.config = S3Sink.Config(
            bucket=bucket,
            endpoint=server.endpoint,
            access_key=Secret(server.access_key),
            secret_key=Secret(server.secret_key),
            **settings,
        )

    def make(self) -> Sink:
        return S3Sink(self.config, dead_letters_context())


class TestObjectPerLetter(DeadLettersContract):
    @pytest.fixture
    def subject(self, minio: MinioServer, minio_bucket: str) -> BucketSubject:
        return BucketSubject(minio, minio_bucket)


class TestObjectPerBatch(DeadLettersContract):
    @pytest.fixture
    def subject(self, minio: MinioServer, minio_bucket: str) -> BucketSubject:
        subject = BucketSubject(minio, minio_bucket, objects="batch")
        subject.overwrites = False
        return subject


class TestPlainObjectPerBatch(DeadLettersContract):
    @pytest.fixture
    def subject(self, minio: MinioServer, minio_bucket: str) -> BucketSubject:
        subject = BucketSubject(minio, minio_bucket, objects="batch", cut=3, compression="none")
        subject.overwrites = False
        return subject


async def test_only_objects_of_the_sink_are_letters(minio: MinioServer, minio_bucket: str) -> None:
    sink = BucketSubject(minio, minio_bucket).make()
    assert isinstance(sink, S3Sink)
    async with s3_client(minio) as client:
        for key in ("failed/broken.json", "failed/readme.txt", "elsewhere/x.json"):
            await client.put_object(Bucket=minio_bucket, Key=key, Body=b"{")
    async with sink.dead_letters() as store:
        (letter,) = [letter async for letter in store.read()]
        assert (letter.place, letter.document) == ("failed/broken.json", {})
        assert letter.fault
        assert await store.remove([letter]) == 1


async def test_more_letters_than_one_page_holds(minio: MinioServer, minio_bucket: str) -> None:
    sink = BucketSubject(minio, minio_bucket).make()
    assert isinstance(sink, S3Sink)
    async with sink:
        await sink.write(letters_of([document(number) for number in range(1100)]))
        async with sink.dead_letters() as store:
            letters = [letter async for letter in store.read()]
            assert len({letter.place for letter in letters}) == 1100
            assert await store.remove(letters) == 1100
        assert await sink.backlog() == 0


async def test_a_bucket_that_is_not_there(minio: MinioServer) -> None:
    sink = BucketSubject(minio, "never-made").make()
    assert isinstance(sink, S3Sink)
    with pytest.raises(Misconfigured):
        async with sink.dead_letters():
            pass
