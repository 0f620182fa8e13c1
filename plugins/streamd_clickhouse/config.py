"""Settings of the ClickHouse sink, and what is checked of them without a server."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from streamd.api import ConfigError, Duration, Secret, StageConfig, doc
from streamd_columns import SYNTAX, ColumnDef

DEFAULT_COLUMNS: dict[str, str | ColumnDef] = {
    "id": "id",
    "timestamp": "timestamp",
    "payload": "@json payload",
    "event_type": "payload.event_type",
    "source": "payload.source",
    "validation_status": "@status",
}

_SCHEMES = {"clickhouse": False, "clickhouses": True}
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_OWN_SETTINGS = {
    "send_logs_level": "the sink needs it to be none",
    "insert_deduplication_token": "the sink makes it; see deduplicate",
    "async_insert": "set async_insert beside settings",
    "wait_for_async_insert": "without waiting, a crash of the server loses what was confirmed",
    "insert_block_size": "a batch is one block",
    "strings_as_bytes": "it is a setting of a client library",
    "strings_encoding": "it is a setting of a client library",
}


class ClickHouseConfig(StageConfig, frozen=True):
    """Settings of the sink `clickhouse`."""

    url: Annotated[
        Secret,
        doc(
            "The server's native port (9000, or 9440 with TLS):"
            " clickhouse://user:password@host:port/database; ?secure=true or the scheme"
            " clickhouses:// for TLS, ?ca_certs=FILE, ?verify=false, ?alt_hosts=host:port,...",
            example="clickhouse://127.0.0.1:9000/wotr",
        ),
    ]
    table: Annotated[str, doc("Table, or database.table.", example="ingested_data")]
    user: Annotated[str | None, doc("User, instead of the one in url.")] = None
    password: Annotated[Secret | None, doc("Password, instead of the one in url.")] = None
    create_table: Annotated[
        bool, doc("Create the database and the table if they do not exist.")
    ] = False
    columns: Annotated[
        dict[str, str | ColumnDef],
        doc(
            f"Column to source: {SYNTAX}. A table {{ source = ..., type = ... }} also says the type"
            " for create_table. Empty: the columns of the default table."
        ),
    ] = {}  # noqa: RUF012 - a default that is copied
    missing: Annotated[
        Literal["default", "reject"],
        doc(
            "A field that an event does not have, or a null in a column that takes none: the"
            " default of the column's type (null where it takes nulls), or reject the event."
        ),
    ] = "default"
    engine: Annotated[str, doc("Engine of a table that is created.")] = "MergeTree()"
    order_by: Annotated[str | None, doc("ORDER BY of a table that is created.")] = None
    partition_by: Annotated[str | None, doc("PARTITION BY of a table that is created.")] = None
    deduplicate: Annotated[
        bool,
        doc(
            "Send a token with each insert, so that a server that keeps a deduplication window"
            " stores an insert that is tried again only once. Servers before 21.12 have none."
        ),
    ] = True
    async_insert: Annotated[
        bool, doc("Let the server gather inserts of several clients (21.11 or newer).")
    ] = False
    settings: Annotated[
        dict[str, str | int | float | bool], doc("Settings of the server for each insert.")
    ] = {}  # noqa: RUF012
    compression: Annotated[
        Literal["none", "lz4", "zstd"], doc("Compression on the wire; costs CPU here.")
    ] = "none"
    timeout: Annotated[Duration, doc("Longest time that an insert may take.")] = Duration("60s")
    connect_timeout: Annotated[Duration, doc("Longest time to connect.")] = Duration("10s")

    def check(self) -> None:
        """Raises ConfigError for what can be seen without a server."""
        for name in self.settings:
            if name in _OWN_SETTINGS:
                raise ConfigError(f"{name}: {_OWN_SETTINGS[name]}", path=f"settings.{name}")
        if self.timeout <= 0 or self.connect_timeout <= 0:
            raise ConfigError("must be longer than 0", path="timeout")


class Target(Struct, frozen=True):
    """Where the table is, from `url` and the settings beside it."""

    host: str
    port: int
    user: str
    password: Secret
    database: str
    table: str
    secure: bool = False
    verify: bool = True
    ca_certs: str | None = None
    alt_hosts: str | None = None

    @property
    def name(self) -> str:
        """The table's full name, for people."""
        return f"{self.database}.{self.table}"


def target_of(config: ClickHouseConfig) -> Target:
    """Raises ConfigError, in which the url itself is never shown as it may hold a password."""
    try:
        parts = urlsplit(config.url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"not a URL: {error}", path="url") from None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigError("expected clickhouse://user:password@host:port/database", path="url")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = options.keys() - {"secure", "verify", "ca_certs", "alt_hosts"}
    if unknown:
        raise ConfigError(f"unknown option {', '.join(sorted(unknown))}", path="url")
    secure = _SCHEMES[parts.scheme] or _flag(options, "secure", default=False)
    database, _, table = config.table.rpartition(".")
    path_database = unquote(parts.path.strip("/"))
    if not table:
        raise ConfigError("expected a table name", path="table")
    user = config.user if config.user is not None else unquote(parts.username or "default")
    password = config.password
    return Target(
        host=parts.hostname,
        port=port or (9440 if secure else 9000),
        user=user,
        password=Secret(unquote(parts.password or "")) if password is None else password,
        database=database or path_database or "default",
        table=table,
        secure=secure,
        verify=_flag(options, "verify", default=True),
        ca_certs=options.get("ca_certs"),
        alt_hosts=options.get("alt_hosts"),
    )


def _flag(options: dict[str, str], name: str, *, default: bool) -> bool:
    text = options.get(name)
    if text is None:
        return default
    if text.lower() not in _FLAGS:
        raise ConfigError(f"{name} must be true or false", path="url")
    return _FLAGS[text.lower()]
