"""Logins, rights and TLS; and what the probes of `check --connect` say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streamd.api import Misconfigured, Retryable, Secret
from streamd.testing import batch_of
from streamd_kafka import delivery
from tests.plugins.streamd_kafka.helpers import feed, raws_of, read, sink_of, source_of
from tests.plugins.streamd_kafka.secured import SecuredKafka
from tests.services.clients import create_topic
from tests.services.kafka import KafkaServer


@pytest.fixture(scope="module")
def secured(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """Where `kafka` is skipped for want of a server, so is this."""
    with SecuredKafka(tmp_path_factory.mktemp("secured") / "server") as server:
        yield server


def login(user: str = "admin", password: str = "admin-secret") -> dict[str, Any]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_username": user,
        "sasl_password": Secret(password),
    }


async def test_with_a_login(secured: SecuredKafka) -> None:
    topic = await create_topic(secured)
    async with sink_of(secured.sasl_servers, topic, **login()) as sink:
        await sink.write(batch_of([{"n": 1}]))
    async with source_of(secured.sasl_servers, topic, **login()) as source:
        assert raws_of(await read(source, 1)) == [b'{"n":1}']


async def test_with_tls(secured: SecuredKafka) -> None:
    topic = await create_topic(secured)
    tls: dict[str, Any] = {"security_protocol": "SSL", "tls_ca": str(secured.ca)}
    async with sink_of(secured.tls_servers, topic, **tls) as sink:
        await sink.write(batch_of([{"n": 1}]))
    async with source_of(secured.tls_servers, topic, **tls) as source:
        assert raws_of(await read(source, 1)) == [b'{"n":1}']


WRONG = [
    (login(password="guess"), "SaslAuthenticationFailed"),
    (login() | {"sasl_mechanism": "SCRAM-SHA-256"}, "UnsupportedSaslMechanism"),
    (login("stranger", "stranger-secret"), "may not be described|AuthorizationFailed"),
]


@pytest.mark.parametrize(("settings", "told"), WRONG, ids=["password", "mechanism", "rights"])
async def test_refused(
    secured: SecuredKafka, settings: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_TOPIC_WITHIN", 0.5)
    topic = await create_topic(secured)
    for stage in (
        source_of(secured.sasl_servers, topic, **settings),
        sink_of(secured.sasl_servers, topic, **settings),
    ):
        with pytest.raises(Misconfigured, match=told):
            async with stage:
                pass
        with pytest.raises(Misconfigured, match=told):
            await stage.healthcheck()


async def test_an_unknown_ca(secured: SecuredKafka) -> None:
    with pytest.raises(Misconfigured, match="CERTIFICATE_VERIFY_FAILED"):
        async with source_of(secured.tls_servers, "events", security_protocol="SSL"):
            pass


async def test_a_missing_ca_file(secured: SecuredKafka) -> None:
    settings: dict[str, Any] = {"security_protocol": "SSL", "tls_ca": "/no/such/file"}
    for stage in (
        source_of(secured.tls_servers, "events", **settings),
        sink_of(secured.tls_servers, "events", **settings),
    ):
        with pytest.raises(Misconfigured, match="/no/such/file"):
            async with stage:
                pass


async def test_a_topic_that_nobody_makes(
    secured: SecuredKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_TOPIC_WITHIN", 0.5)
    for stage in (
        source_of(secured.bootstrap_servers, "missing"),
        sink_of(secured.bootstrap_servers, "missing"),
    ):
        with pytest.raises(Misconfigured, match="missing"):
            async with stage:
                pass
        with pytest.raises(Misconfigured, match="missing"):
            await stage.healthcheck()


async def test_what_the_probes_find(secured: SecuredKafka) -> None:
    topic = await create_topic(secured, partitions=3)
    servers = secured.bootstrap_servers
    await feed(servers, topic, [b"a"], partition=1)
    source = source_of(servers, topic, group_id="probed")
    assert await source.healthcheck() == (
        "1 topics with 3 partitions, group probed has offsets in 0 of them"
    )
    async with source:
        await read(source, 1)
        await source.commit({f"{topic}:1": 1}, "x")
    assert (await source.healthcheck()).endswith("group probed has offsets in 1 of them")
    pattern = source_of(servers, topic_pattern=f"{topic}$")
    assert (await pattern.healthcheck()).startswith("1 topics with 3 partitions")
    nothing = source_of(servers, topic_pattern="nothing-.*")
    assert (await nothing.healthcheck()).startswith("0 topics with 0 partitions")
    assert await sink_of(servers, topic).healthcheck() == f"topic {topic} with 3 partitions"


async def test_no_broker() -> None:
    for stage in (source_of("127.0.0.1:1", "events"), sink_of("127.0.0.1:1", "events")):
        with pytest.raises(Retryable, match="cannot reach Kafka"):
            async with stage:
                pass
        with pytest.raises(Retryable, match="cannot reach Kafka"):
            await stage.healthcheck()
