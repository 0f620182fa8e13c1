"""Settings that contradict each other, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest

from streamd.api import ConfigError, Duration, Secret
from streamd.testing import PlainJson, stage_context
from streamd_kafka.session import consumer_options
from streamd_kafka.settings import SinkConfig, SourceConfig, client_options, parse_start
from streamd_kafka.sink import KafkaSink
from streamd_kafka.source import KafkaSource

SASL: dict[str, Any] = {
    "security_protocol": "SASL_SSL",
    "sasl_username": "u",
    "sasl_password": Secret("p"),
}


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"topics": ()}, "topics"),
        ({"topic_pattern": "a"}, "topics"),
        ({"topics": (), "topic_pattern": "("}, "topic_pattern"),
        ({"topics": ("fine", "not/fine")}, "topics[1]"),
        ({"start": "yesterday"}, "start"),
        ({"start": "2025-11-19T10:30:00"}, "start"),
        ({"bootstrap_servers": " , "}, "bootstrap_servers"),
        ({"bootstrap_servers": ()}, "bootstrap_servers"),
        ({"security_protocol": "SASL_PLAINTEXT"}, "security_protocol"),
        ({"sasl_username": "u"}, "sasl_username"),
        ({"tls_key": "key.pem", "security_protocol": "SSL"}, "tls_key"),
        ({"tls_ca": "ca.pem"}, "tls_ca"),
        ({"tls_cert": "c.pem"}, "tls_cert"),
        ({"max_poll_interval": Duration("30s")}, "max_poll_interval"),
    ],
)
def test_wrong_source_settings(settings: dict[str, Any], path: str) -> None:
    config = SourceConfig(**{"topics": ("events",), "group_id": "g"} | settings)
    with pytest.raises(ConfigError) as caught:
        KafkaSource(config, stage_context("source"))
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"acks": 1}, "acks"),
        ({"key": "a +"}, "key"),
        ({"key": "a + b"}, "key"),
        ({"topic": "a topic"}, "topic"),
    ],
)
def test_wrong_sink_settings(settings: dict[str, Any], path: str) -> None:
    config = SinkConfig(**{"topic": "events"} | settings)
    with pytest.raises(ConfigError) as caught:
        KafkaSink(config, stage_context("sink", codec=PlainJson()))
    assert caught.value.path == path


def test_stages_need_their_surroundings() -> None:
    with pytest.raises(ConfigError):
        KafkaSink(SinkConfig(topic="events"), stage_context("sink"))
    with pytest.raises(ConfigError):
        KafkaSource(SourceConfig(topics=("events",), group_id="g"), stage_context("sink"))


def test_start() -> None:
    assert parse_start("earliest") == "earliest"
    assert parse_start("latest") == "latest"
    assert parse_start("1763548200000") == 1_763_548_200_000
    assert parse_start("2025-11-19T10:30:00Z") == 1_763_548_200_000
    assert parse_start("2025-11-19T11:30:00.25+01:00") == 1_763_548_200_250


def test_servers_as_text_or_list() -> None:
    text = SinkConfig(topic="t", bootstrap_servers="a:1, b:2,")
    listed = SinkConfig(topic="t", bootstrap_servers=("a:1", "b:2"))
    assert text.bootstrap() == listed.bootstrap() == ["a:1", "b:2"]


def test_a_join_may_take_as_long_as_a_rebalance() -> None:
    config = SourceConfig(topics=("t",), group_id="g", rebalance_timeout=Duration("2m"))
    assert consumer_options(config)["request_timeout_ms"] == 130_000
    config = SourceConfig(topics=("t",), group_id="g", request_timeout=Duration("5m"))
    assert consumer_options(config)["request_timeout_ms"] == 300_000


def test_nothing_is_committed_or_reset_behind_the_engines_back() -> None:
    options = consumer_options(SourceConfig(topics=("t",), group_id="g"))
    assert options["enable_auto_commit"] is False
    assert options["auto_offset_reset"] == "none"
    assert options["group_instance_id"] is None


def test_login_and_tls() -> None:
    options = client_options(SinkConfig(topic="t", **SASL))
    assert options["sasl_plain_password"] == "p"
    assert options["ssl_context"].check_hostname
    assert "sasl_mechanism" not in client_options(SinkConfig(topic="t"))
