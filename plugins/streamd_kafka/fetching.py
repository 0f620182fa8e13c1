"""Takes what the client has fetched, by its public calls alone."""

from __future__ import annotations

import time
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer

from streamd_kafka.columns import Columns, columns_of
from streamd_kafka.settings import SourceConfig, milliseconds


class Fetcher(Protocol):
    """Never cancelled, except together with its consumer."""

    async def fetch(self, limit: int, timeout: float) -> list[Columns]:
        """At most `limit` records. Nothing is awaited between taking them and returning."""
        ...

    async def touch(self) -> None:
        """Tell the group that this process is alive, without taking records."""
        ...


class PublicFetcher:
    """By `getmany`. May wait longer than asked while the group rebalances."""

    def __init__(self, consumer: AIOKafkaConsumer, config: SourceConfig) -> None:
        self._consumer = consumer
        self._touch_after = config.max_poll_interval / 3
        self._last = time.monotonic()

    async def fetch(self, limit: int, timeout: float) -> list[Columns]:
        fetched = await self._getmany(limit, timeout)
        return [
            columns_of(partition, records, await self._position(partition, records))
            for partition, records in fetched.items()
        ]

    async def touch(self) -> None:
        """Pausing costs the records that wait in memory, so only when time runs out."""
        if time.monotonic() - self._last < self._touch_after:
            return
        consumer = self._consumer
        running = consumer.assignment() - consumer.paused()
        consumer.pause(*running)
        fetched = await self._getmany(1, 0)
        for partition, records in fetched.items():  # of a rebalance meanwhile: not paused
            consumer.seek(partition, records[0].offset)
        consumer.resume(*(running & consumer.assignment()))

    async def _getmany(self, limit: int, timeout: float) -> Any:
        try:
            return await self._consumer.getmany(timeout_ms=milliseconds(timeout), max_records=limit)
        except BaseException:
            # The client then counts this call as running for ever, and would never again notice
            # that max_poll_interval has passed.
            self._consumer._subscription._fetch_count = 0
            raise
        finally:
            self._last = time.monotonic()

    async def _position(self, partition: Any, records: list[Any]) -> int:
        """After transaction markers too. Returns at once: there is a position after a fetch."""
        position: int = await self._consumer.position(partition)
        return position if position > records[-1].offset else records[-1].offset + 1
