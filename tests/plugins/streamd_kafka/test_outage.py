"""A broker that goes away while the source reads."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import aiokafka.errors
import anyio
import pytest

from streamd.api import Batch, Misconfigured, Retryable
from streamd_kafka import lag, problems, session
from streamd_kafka.fast_fetching import FastFetcher
from streamd_kafka.source import KafkaSource
from tests.plugins.streamd_kafka.engine import Engine
from tests.plugins.streamd_kafka.helpers import feed, raws_of, source_of
from tests.services.clients import create_topic
from tests.services.kafka import KafkaServer


async def patiently(source: KafkaSource, count: int) -> list[bytes]:
    """Read as the engine does, which polls again after every Retryable."""
    batches: list[Batch] = []
    with anyio.fail_after(60):
        while len(raws_of(batches)) < count:
            try:
                batches += await source.poll(100, 0.2)
            except Retryable:
                await anyio.sleep(0.1)
    return raws_of(batches)


async def test_reading_goes_on_when_the_broker_is_back(
    private_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "_SILENCE", 0.8)
    monkeypatch.setattr(session, "_ANSWER_WITHIN", 0.3)
    servers = private_kafka.bootstrap_servers
    topic, engine = await create_topic(private_kafka, partitions=2), Engine()
    engine.source = source_of(servers, topic, control=engine, group_id=uuid.uuid4().hex)
    await feed(servers, topic, [b"a", b"b"])
    async with engine.source as source:
        found = await patiently(source, 2)
        await source.commit({f"{topic}:0": 2}, "store:1")
        await anyio.to_thread.run_sync(private_kafka.stop)
        with pytest.raises(Retryable, match="no broker has answered"), anyio.fail_after(30):
            await patiently_failing(source)
        with pytest.raises(Retryable, match="cannot commit"):
            await source.commit({f"{topic}:0": 2}, "store:1")
        await source.keepalive()
        await anyio.to_thread.run_sync(private_kafka.start)
        await feed(servers, topic, [b"c"])
        found += await patiently(source, 1)
    assert found == [b"a", b"b", b"c"]


async def patiently_failing(source: KafkaSource) -> None:
    while True:
        assert await source.poll(100, 0.2) == []


async def test_leaving_a_broker_that_hangs(
    private_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_STOP_WITHIN", 0.3)
    topic = await create_topic(private_kafka)
    await feed(private_kafka.bootstrap_servers, topic, [b"a"])
    before = asyncio.all_tasks()
    with anyio.fail_after(20):
        async with source_of(private_kafka.bootstrap_servers, topic) as source:
            assert await patiently(source, 1) == [b"a"]
            private_kafka.pause()
    await anyio.wait_all_tasks_blocked()
    assert asyncio.all_tasks() - before == set()


async def test_fast_reading_is_left_out_where_the_client_differs(
    kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "streamd_kafka.fast_fetching.FetchResult", type("FetchResult", (), {"has_more": None})
    )
    topic = await create_topic(kafka)
    await feed(kafka.bootstrap_servers, topic, [b"a"])
    async with source_of(kafka.bootstrap_servers, topic) as source:
        opened: Any = source._session
        assert not isinstance(opened._fetcher, FastFetcher)
        assert await patiently(source, 1) == [b"a"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("TopicAuthorizationFailedError", Misconfigured),
        ("GroupAuthorizationFailedError", Misconfigured),
        ("SaslAuthenticationFailed", Misconfigured),
        ("UnknownTopicOrPartitionError", Misconfigured),
        ("UnsupportedCodecError", Misconfigured),
        ("KafkaConnectionError", Retryable),
        ("NotLeaderForPartitionError", Retryable),
        ("RequestTimedOutError", Retryable),
        ("KafkaError", Retryable),
        ("UnknownError", Retryable),
    ],
)
def test_classes_of_errors(error: str, kind: type[Exception]) -> None:
    found = problems.classify(getattr(aiokafka.errors, error)(), "cannot read")
    assert type(found) is kind
    assert str(found).startswith(f"cannot read: {error}")
