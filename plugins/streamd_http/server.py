"""The aiohttp server, with the limits that it lacks: connections, and time for slow clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from aiohttp import web

from streamd.api import Gauge, Logger, Misconfigured
from streamd_http.config import Address, HttpConfig

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_SWEEP_EVERY = 1.0
_LINGER = 2.0
_STOP_WITHIN = 5.0
_MAX_HEADERS = 64

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Connection(web.RequestHandler):
    """aiohttp's, which waits for ever: for headers to come, and for answers to be read.

    `busy` while a request is handled. `due` is when headers must be complete, in the loop's time;
    None while none are expected. `unread_since` is when the client stopped reading.
    """

    __slots__ = ("busy", "due", "owner", "unread_since")

    def __init__(self, manager: web.Server, owner: HttpServer, **options: Any) -> None:
        super().__init__(manager, **options)
        self.owner = owner
        self.busy = False
        self.due: float | None = None
        self.unread_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.owner.connections.add(self)
        self.due = self._loop.time() + self.owner.read_timeout

    def connection_lost(self, exc: BaseException | None) -> None:
        self.owner.connections.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.busy and self.due is None:
            self.due = self._loop.time() + self.owner.read_timeout
        super().data_received(data)

    def check(self, now: float) -> None:
        """Cut off a client that is too slow."""
        transport = self.transport
        if transport is None:
            return
        if self.due is not None and now > self.due and not self.busy:
            transport.write(_TOO_SLOW)
            self.force_close()
        if not transport.get_write_buffer_size():
            self.unread_since = None
        elif self.unread_since is None:
            self.unread_since = now
        elif now > self.unread_since + self.owner.read_timeout:
            transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that aiohttp could not parse, or a bug of ours. Only the latter is logged."""
        if status >= 500:
            self.owner.log.error("A request failed", exc_info=exc)
        if exc is not None:
            # The frame that has parsed the bytes of the client knows both them and the error.
            exc.__traceback__ = None
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        response = self.owner.failure(status, message)
        response.force_close()
        return response


class _Full(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            transport.write(_TOO_MANY)
        transport.close()


class _Connections(web.Server):
    def __init__(self, handler: Handler, owner: HttpServer, **options: Any) -> None:
        super().__init__(handler)
        self._owner = owner
        self._options = options

    def __call__(self) -> Any:
        if len(self._owner.connections) >= self._owner.max_connections:
            return _Full()
        return Connection(self, self._owner, loop=self._loop, **self._options)


class HttpServer:
    """Listens until it is stopped. `every_second` is called with the loop's time."""

    def __init__(
        self,
        config: HttpConfig,
        handler: Handler,
        *,
        failure: Callable[[int, str | None], web.Response],
        every_second: Callable[[float], None],
        open_connections: Gauge,
        log: Logger,
    ) -> None:
        self.connections: set[Connection] = set()
        self.max_connections = config.max_connections
        self.read_timeout = float(config.read_timeout)
        self.failure = failure
        self.log = log
        self._config = config
        self._handler = handler
        self._every_second = every_second
        self._gauge = open_connections
        self._runner: web.ServerRunner | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self, address: Address) -> Address:
        """Returns the address with the port that was found.

        Raises Misconfigured if the address cannot be had.
        """
        config = self._config
        server = _Connections(
            self._handle,
            self,
            access_log=None,
            auto_decompress=False,  # aiohttp knows no limit
            keepalive_timeout=float(config.keepalive_timeout),
            lingering_time=_LINGER,
            max_line_size=int(config.max_header),
            max_field_size=int(config.max_header),
            max_headers=_MAX_HEADERS,
        )
        self._runner = runner = web.ServerRunner(server, shutdown_timeout=_LINGER)
        await runner.setup()
        site = web.TCPSite(runner, address.host, address.port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise Misconfigured(f"cannot listen on {address}: {error}") from error
        self._tick()
        return address._replace(port=site.port)

    async def stop(self) -> None:
        """Answer what has its answer, and close."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._runner is not None:
            with anyio.move_on_after(_STOP_WITHIN, shield=True):
                await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.busy, connection.due = True, None
        try:
            return await self._handler(request)
        finally:
            connection.busy = False

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._sweep = loop.call_later(_SWEEP_EVERY, self._tick)
        self._gauge.set(len(self.connections))
        for connection in list(self.connections):
            connection.check(now)
        self._every_second(now)
