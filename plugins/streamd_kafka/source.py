"""Events from Kafka topics, as a member of a consumer group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol, Self

from streamd.api import Batch, ConfigError, KeepsAlive, Source, StageContext
from streamd_kafka.settings import SourceConfig


class _Session(Source, KeepsAlive, Protocol):
    broken: bool

    async def give_up(self) -> None: ...


class KafkaSource:
    """Read topics as a member of a consumer group."""

    Config: ClassVar = SourceConfig
    resumes = True

    def __init__(self, config: SourceConfig, context: StageContext) -> None:
        config.check()
        if context.control is None:
            raise ConfigError("a Kafka source needs an engine that it can tell of rebalances")
        self._config = config
        self._context = context
        self._control = context.control
        self._session: _Session | None = None

    async def __aenter__(self) -> Self:
        """Raises Retryable if no broker can be reached, Misconfigured if access is refused or a
        topic is missing."""
        await self._open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.__aexit__(None, None, None)

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        """Raises Retryable while no broker answers, Misconfigured if access is refused."""
        session = self._session or await self._open()
        try:
            return await session.poll(max_events, timeout)
        finally:
            if session.broken:
                await session.give_up()
                await self.__aexit__()

    async def commit(self, positions: Mapping[str, int], tag: str) -> None:
        """Raises Retryable if no broker answers. A commit that comes too late is dropped."""
        if self._session is not None:
            await self._session.commit(positions, tag)

    async def keepalive(self) -> None:
        if self._session is not None:
            await self._session.keepalive()

    async def healthcheck(self) -> str:
        from streamd_kafka.health import check_source

        return await check_source(self._config)

    async def _open(self) -> _Session:
        from streamd_kafka.session import Session  # the client takes its time to import

        session = Session(self._config, self._context, self._control)
        await session.__aenter__()
        self._session = session
        return session
