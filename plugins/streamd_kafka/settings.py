"""The settings of source and sink. Light: nothing here imports the Kafka client."""

from __future__ import annotations

import re
import ssl
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from streamd.api import (
    ConfigError,
    ConfigFile,
    Duration,
    Misconfigured,
    Secret,
    Size,
    StageConfig,
    doc,
)

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")

_NO_FILE = ConfigFile("")

Start = Literal["earliest", "latest"] | int
"""Where a group without offsets begins; an int is a time in milliseconds since the epoch."""


class ConnectionConfig(StageConfig, frozen=True, kw_only=True):
    """How to reach the brokers."""

    bootstrap_servers: Annotated[
        str | tuple[str, ...],
        doc("Brokers to ask first: `host:port`, several by commas or as a list."),
    ] = "127.0.0.1:9092"
    client_id: Annotated[str, doc("Name in the brokers' logs and quotas.")] = "streamd"
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
        doc("Encryption (SSL) and login (SASL) of the connections."),
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], doc("How to log in with SASL.")
    ] = "PLAIN"
    sasl_username: Annotated[str, doc("User for SASL.")] = ""
    sasl_password: Annotated[Secret, doc("Password for SASL.")] = Secret("")
    tls_ca: Annotated[ConfigFile, doc("File of the trusted CA; empty: those of the system.")] = (
        ConfigFile("")
    )
    tls_cert: Annotated[ConfigFile, doc("File of the client's certificate, for mutual TLS.")] = (
        ConfigFile("")
    )
    tls_key: Annotated[ConfigFile, doc("File of the key of `tls_cert`.")] = _NO_FILE
    tls_key_password: Annotated[Secret, doc("Password of `tls_key`, if it has one.")] = Secret("")
    request_timeout: Annotated[
        Duration, doc("How long to wait for a broker's answer and for a connection.")
    ] = Duration("40s")
    metadata_max_age: Annotated[
        Duration, doc("How often to look for new topics, partitions and brokers.")
    ] = Duration("1m")

    def bootstrap(self) -> list[str]:
        servers = self.bootstrap_servers
        listed = servers.split(",") if isinstance(servers, str) else servers
        return [server.strip() for server in listed if server.strip()]

    def check(self) -> None:
        """Raises ConfigError where settings contradict each other."""
        if not self.bootstrap():
            raise ConfigError("names no broker", path="bootstrap_servers")
        uses_sasl = self.security_protocol.startswith("SASL")
        if uses_sasl and not (self.sasl_username and self.sasl_password):
            raise ConfigError(
                f"{self.security_protocol} needs sasl_username and sasl_password",
                path="security_protocol",
            )
        if self.sasl_username and not uses_sasl:
            raise ConfigError(
                "is of use only with a SASL security_protocol",
                path="sasl_username",
                also="security_protocol",
            )
        if self.tls_key and not self.tls_cert:
            raise ConfigError("needs tls_cert", path="tls_key")
        if (self.tls_ca or self.tls_cert) and "SSL" not in self.security_protocol:
            raise ConfigError(
                "is of use only with security_protocol SSL or SASL_SSL",
                path="tls_ca" if self.tls_ca else "tls_cert",
                also="security_protocol",
            )


class SourceConfig(ConnectionConfig, frozen=True, kw_only=True):
    """Settings of the source."""

    topics: Annotated[tuple[str, ...], doc("Topics to read.", example=["events"])] = ()
    topic_pattern: Annotated[
        str, doc("Regular expression of the topics to read, matched from the start of the name.")
    ] = ""
    group_id: Annotated[str, doc("Consumer group.", example="streamd"), Meta(min_length=1)]
    start: Annotated[
        str,
        doc(
            "Where to begin in a partition for which the group has no offset: `earliest`, "
            "`latest`, or a time (RFC 3339, or milliseconds since the epoch)."
        ),
    ] = "earliest"
    on_missing_topic: Annotated[
        Literal["error", "wait"],
        doc("A topic that does not exist: a misconfiguration, or wait until somebody makes it."),
    ] = "error"
    on_lost_offsets: Annotated[
        Literal["report", "error"],
        doc(
            "The log no longer has the next record to read (retention was faster, or the topic "
            "was made anew): report and count it and go on with the oldest, or stand still."
        ),
    ] = "report"
    isolation_level: Annotated[
        Literal["read_committed", "read_uncommitted"],
        doc("Whether records of transactions that are open or aborted are left out."),
    ] = "read_committed"
    group_instance_id: Annotated[
        str,
        doc(
            "Static membership: a name unique in the group, with which a restart within "
            "session_timeout gets its partitions back without a rebalance."
        ),
    ] = ""
    session_timeout: Annotated[
        Duration, doc("Silence after which the group takes this member for dead.")
    ] = Duration("45s")
    rebalance_timeout: Annotated[
        Duration, doc("How long a rebalance waits for members to finish what they have in flight.")
    ] = Duration("60s")
    max_poll_interval: Annotated[
        Duration, doc("A process that reads nothing for so long leaves the group.")
    ] = Duration("5m")
    fetch_min_bytes: Annotated[Size, doc("A broker waits for so much before it answers.")] = Size(
        "1B"
    )
    fetch_max_wait: Annotated[Duration, doc("But not longer than this.")] = Duration("500ms")
    fetch_max_bytes: Annotated[Size, doc("Most bytes of one answer of a broker.")] = Size("50MiB")
    max_partition_fetch_bytes: Annotated[
        Size, doc("Most bytes of one partition in it; one answer is held ready in memory.")
    ] = Size("1MiB")
    check_crcs: Annotated[bool, doc("Verify the checksum of every record batch.")] = True
    fast_records: Annotated[
        bool,
        doc(
            "Read record batches straight into columns, about twice as fast; needs parts of the "
            "client that are not public, and is left out by itself where they differ."
        ),
    ] = True

    def check(self) -> None:
        super().check()
        if bool(self.topics) == bool(self.topic_pattern):
            message = "give either topics or topic_pattern"
            raise ConfigError(message, path="topics", also="topic_pattern")
        try:
            re.compile(self.topic_pattern)
        except re.error as error:
            raise ConfigError(f"is no regular expression: {error}", path="topic_pattern") from None
        for number, topic in enumerate(self.topics):
            _check_topic(topic, f"topics[{number}]")
        parse_start(self.start)
        if self.session_timeout > self.max_poll_interval:
            message = "must not be below session_timeout"
            raise ConfigError(message, path="max_poll_interval", also="session_timeout")


class SinkConfig(ConnectionConfig, frozen=True, kw_only=True):
    """Settings of the sink."""

    topic: Annotated[str, doc("Topic to write to.", example="events"), Meta(min_length=1)]
    key: Annotated[
        str,
        doc(
            "The record's key: `source` keeps the key that the event came with, `none` gives "
            "none, anything else is the path of a field such as `payload.user_id`."
        ),
    ] = "source"
    headers: Annotated[bool, doc("Keep the headers that the event came with.")] = True
    timestamp: Annotated[
        Literal["now", "event"],
        doc(
            "The record's timestamp: the time of writing, or the event's. Kafka deletes by it, "
            "so with `event` old events may be gone at once."
        ),
    ] = "now"
    acks: Annotated[
        Literal["all", 1],
        doc("Who must have a record: every in-sync replica, or the leader alone (may lose)."),
    ] = "all"
    enable_idempotence: Annotated[
        bool, doc("Let the broker drop what the client repeats by itself; needs acks = all.")
    ] = True
    compression: Annotated[
        Literal["none", "gzip", "snappy", "lz4", "zstd"], doc("Compression of record batches.")
    ] = "none"
    batch_size: Annotated[Size, doc("Most bytes of a record batch, before compression.")] = Size(
        "512KiB"
    )
    max_request_size: Annotated[
        Size, doc("A larger record is rejected; not above the topic's max.message.bytes.")
    ] = Size("1MiB")
    delivery_timeout: Annotated[
        Duration, doc("How long a write waits for the brokers before it counts as failed.")
    ] = Duration("30s")

    def check(self) -> None:
        super().check()
        _check_topic(self.topic, "topic")
        if self.enable_idempotence and self.acks != "all":
            message = "must be all with enable_idempotence"
            raise ConfigError(message, path="acks", also="enable_idempotence")


def _check_topic(topic: str, path: str) -> None:
    if not _TOPIC.fullmatch(topic):
        raise ConfigError(
            f"{topic!r} is no topic name: letters, digits, '.', '_' and '-', at most 249",
            path=path,
        )


def parse_start(text: str) -> Start:
    """Raises ConfigError if `text` is no start."""
    if text == "earliest":
        return "earliest"
    if text == "latest":
        return "latest"
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigError(
            "expected earliest, latest, a time such as 2025-11-19T10:30:00Z (with its zone), "
            f"or milliseconds since the epoch, got {text!r}",
            path="start",
        )
    return round(moment.timestamp() * 1000)


def milliseconds(duration: float) -> int:
    return round(duration * 1000)


def client_options(config: ConnectionConfig) -> dict[str, Any]:
    """Arguments that every client class of aiokafka takes.

    Raises Misconfigured if a certificate cannot be read.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": config.bootstrap(),
        "client_id": config.client_id,
        "security_protocol": config.security_protocol,
        "request_timeout_ms": milliseconds(config.request_timeout),
        "metadata_max_age_ms": milliseconds(config.metadata_max_age),
    }
    if "SSL" in config.security_protocol:
        options["ssl_context"] = _tls(config)
    if config.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = config.sasl_mechanism
        options["sasl_plain_username"] = config.sasl_username
        options["sasl_plain_password"] = str(config.sasl_password)
    return options


def _tls(config: ConnectionConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=config.tls_ca or None)
        if config.tls_cert:
            password = str(config.tls_key_password)
            context.load_cert_chain(config.tls_cert, config.tls_key or None, password)
    except OSError as error:  # ssl.SSLError is one; neither names the file
        files = ", ".join(filter(None, [config.tls_ca, config.tls_cert, config.tls_key]))
        raise Misconfigured(f"cannot use {files}: {error}") from error
    return context
