"""What the sink finds out about the server it speaks to."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from streamd.api import Misconfigured
from streamd_clickhouse.config import ClickHouseConfig

DEDUPLICATION_TOKEN = "insert_deduplication_token"
ASYNC_INSERT = "async_insert"
WAIT_FOR_ASYNC_INSERT = "wait_for_async_insert"
_DATETIME64_SINCE = (20, 1)

Value = str | int | float


class Server(Struct, frozen=True):
    """A server's version and those of the settings asked for that it has."""

    version: tuple[int, int, int]
    settings: frozenset[str]

    @property
    def text(self) -> str:
        return "ClickHouse " + ".".join(map(str, self.version))

    @property
    def has_datetime64(self) -> bool:
        return self.version[:2] >= _DATETIME64_SINCE

    @property
    def has_tokens(self) -> bool:
        return DEDUPLICATION_TOKEN in self.settings


def settings_wanted(config: ClickHouseConfig) -> list[str]:
    """The settings whose presence matters to this sink."""
    return [DEDUPLICATION_TOKEN, ASYNC_INSERT, *config.settings]


def statement_settings(config: ClickHouseConfig) -> dict[str, Value]:
    """Settings of every statement."""
    numbers = {k: int(v) if isinstance(v, bool) else v for k, v in config.settings.items()}
    # Log packets would hide the outcome of an insert, and a server's profile can turn them on.
    return {**numbers, "send_logs_level": "none"}


def insert_settings(config: ClickHouseConfig) -> dict[str, Value]:
    """Settings of an insert."""
    settings = statement_settings(config)
    if config.async_insert:
        settings |= {ASYNC_INSERT: 1, WAIT_FOR_ASYNC_INSERT: 1}
    return settings


def check_settings(
    config: ClickHouseConfig, server: Server, sendable: Iterable[str] | None
) -> None:
    """Raises Misconfigured for a setting that the server does not have.

    `sendable` are the settings that the client library can send to this server; None: all.
    """
    if config.async_insert and ASYNC_INSERT not in server.settings:
        raise Misconfigured(f"{server.text} has no async_insert (21.11 and newer have)")
    for name in config.settings:
        if name not in server.settings:
            raise Misconfigured(f"{server.text} has no setting {name}")
        if sendable is not None and name not in sendable:
            raise Misconfigured(
                f"setting {name} cannot be sent to {server.text}; set it in a profile of the user"
            )
