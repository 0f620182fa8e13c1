"""Events into a Kafka topic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Protocol, Self

from streamd.api import (
    Batch,
    BatchLimits,
    ConfigError,
    DeadLetterStore,
    Reject,
    Rejected,
    StageContext,
)
from streamd_kafka.records import Records, encode, key_of
from streamd_kafka.settings import SinkConfig


class _Delivery(Protocol):
    async def open(self) -> Any: ...
    async def close(self) -> None: ...
    async def deliver(self, records: Records) -> Mapping[int, Reject]: ...


class KafkaSink:
    """Write events to a topic."""

    Config: ClassVar = SinkConfig
    batch: ClassVar[BatchLimits] = BatchLimits(rows=5000, bytes=4 * 1024 * 1024)

    def __init__(self, config: SinkConfig, context: StageContext) -> None:
        config.check()
        if context.codec is None:
            raise ConfigError("a Kafka sink needs a codec", path="codec")
        self._config = config
        self._codec = context.codec
        self._clock = context.clock
        self._key_of = key_of(config.key)
        self._delivery: _Delivery | None = None

    async def __aenter__(self) -> Self:
        """Raises Retryable if no broker can be reached, Misconfigured if access is refused or the
        topic is missing and the broker does not make it."""
        from streamd_kafka.delivery import Delivery  # the client takes its time to import

        delivery = Delivery(self._config)
        await delivery.open()
        self._delivery = delivery
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            await delivery.close()

    async def write(self, batch: Batch) -> None:
        """Raises Rejected for rows that cannot be encoded, are too large, or are refused by the
        broker; Retryable while brokers do not acknowledge; Misconfigured if access is refused."""
        if self._delivery is None:
            raise RuntimeError("write() outside of the sink's context")
        if not len(batch):
            return
        good, values, rejects = encode(batch, self._codec)
        rows = [row for row in range(len(batch)) if row not in rejects]
        refused = await self._delivery.deliver(self._records(good, values))
        rejects |= {rows[number]: reject for number, reject in refused.items()}
        if rejects:
            raise Rejected(rejects)

    def _records(self, batch: Batch, values: list[bytes]) -> Records:
        config = self._config
        return Records(
            values,
            self._key_of(batch) or [None] * len(values),
            batch.headers if config.headers else None,
            batch.timestamps
            if config.timestamp == "event"
            else [self._clock.now_ms()] * len(values),
        )

    @asynccontextmanager
    async def dead_letters(self) -> AsyncIterator[DeadLetterStore]:
        """See `streamd.api.KeepsDeadLetters`."""
        from streamd_kafka.letters import Letters

        async with Letters(self._config, self._codec) as store:
            yield store

    async def healthcheck(self) -> str:
        from streamd_kafka.health import check_sink

        return await check_sink(self._config)
