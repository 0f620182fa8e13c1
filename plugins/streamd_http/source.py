"""The source: what the engine polls and settles, and the server in front of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import anyio

from streamd.api import (
    Batch,
    ConfigError,
    Settlement,
    StageContext,
    partition_name,
)
from streamd_http.config import HttpConfig, parse_address
from streamd_http.inbox import Inbox
from streamd_http.keys import ApiKeys
from streamd_http.offsets import Offsets
from streamd_http.probe import look


class HttpSource:
    """Take events over HTTP, and answer when they are stored."""

    Config = HttpConfig

    resumes = False

    def __init__(self, config: HttpConfig, context: StageContext) -> None:
        if context.codec is None or context.codec.content_type != "application/json":
            raise ConfigError("the source takes JSON only", path="codec")
        assert context.control is not None
        # Whoever was answered early is not told of a reject: it must go where others go.
        self.answers_rejects = config.ack == "stored" and not config.dead_letter_rejects
        self.address = parse_address(config.listen)
        self._config = config
        self._context = context
        self._control = context.control
        self._keys = ApiKeys(config.api_keys)
        name = f"{context.pipeline}.{context.stage}"
        self._partition = partition_name(name)
        self._offsets = Offsets(context.state_dir / "http" / name, context.clock)
        self._assigned = False
        self._stopping = False
        self._server: Any = None
        self._inbox: Inbox

    async def __aenter__(self) -> Self:
        # aiohttp is slow to import: only a pipeline that listens pays for it.
        from streamd_http.server import HttpServer
        from streamd_http.service import Service

        config, metrics = self._config, self._context.metrics
        self._offsets.open()
        self._inbox = Inbox(
            self._offsets.take,
            max_events=config.max_queue_events,
            max_bytes=int(config.max_queue_bytes),
            answer_early=config.ack == "accepted",
        )
        self._queued = metrics.gauge("http_queue_events", "Events that wait for the pipeline.")
        service = Service(config, self._context, self._inbox, self._keys, self._away)
        self._server = HttpServer(
            config,
            service.handle,
            failure=service.failure,
            every_second=self._every_second,
            open_connections=metrics.gauge("http_connections", "Connections that are open."),
            log=self._context.log,
        )
        try:
            self.address = await self._server.start(self.address)
        except BaseException:
            await self._server.stop()
            raise
        self._context.log.info("Listening", url=f"http://{self.address}")
        if not self._keys.required and not self.address.local:
            self._context.log.warning("Whoever reaches the port may send: there are no api_keys")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.drain()
        self._inbox.close()
        await self._server.stop()

    async def healthcheck(self) -> str:
        return await look(self.address)

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        if not self._assigned:
            await self._control.assigned({self._partition: None})
            self._assigned = True
        if not self._inbox.arrived.is_set():
            with anyio.move_on_after(timeout):
                await self._inbox.arrived.wait()
        taken = self._inbox.take(max_events)
        if taken is None:
            return []
        batch = Batch.of_raws(
            taken.raws,
            partition=self._partition,
            offsets=taken.offsets,
            timestamps=taken.timestamps,
        )
        return [batch]

    def drain(self) -> None:
        """Take nothing more; what waits to be polled is to be sent again."""
        self._stopping = True
        self._inbox.send_away()

    async def commit(self, positions: Mapping[str, int], tag: str) -> None:
        """Clients are told by `settle`; there is nobody else to tell."""

    def waiting(self) -> bool:
        return self._inbox.waiting

    def settle(self, upto: Mapping[str, int], exceptions: Sequence[Settlement]) -> None:
        self._inbox.settle(upto.get(self._partition, 0), exceptions)

    def _away(self) -> str | None:
        return "the pipeline is stopping" if self._stopping else None

    def _every_second(self, now: float) -> None:
        self._inbox.expire(now)
        self._queued.set(self._inbox.events)
