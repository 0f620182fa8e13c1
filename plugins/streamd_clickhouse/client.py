"""One connection to a ClickHouse server: statements, inserts, and errors in streamd's terms.

All knowledge of the client library is here. What it is kept from doing:

- A cancellation in the midst of a statement leaves its connection unusable, so every statement
  is shielded and has its own time limit. At the limit the socket is cut, which the library
  handles as any lost connection; its own clean-up would wait for a peer that does not read.
- After an insert it reads a single packet. A log or progress packet in front of the server's
  exception would make a failed insert look stored, so the answer is read to its end here. The
  library's own flag for this, `is_query_executing`, is not to be trusted: it is reset when the
  library finds the connection lost and connects again.
- A server may leave a connection in the midst of the data when it refuses an insert, so after any
  error the connection is thrown away; the next statement opens another.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from asynch import Connection
from asynch.errors import (
    ClickHouseException,
    ColumnException,
    LogicalError,
    NetworkError,
    ServerException,
    TypeMismatchError,
    UnexpectedPacketFromServerError,
    UnknownPacketFromServerError,
)
from asynch.proto.constants import DBMS_MIN_REVISION_WITH_SETTINGS_SERIALIZED_AS_STRINGS
from asynch.proto.settings.available import settings as sendable_to_old_servers

from streamd.api import Logger, Misconfigured, Permanent, Retryable, StreamdError
from streamd_clickhouse import native
from streamd_clickhouse.block import Block
from streamd_clickhouse.codes import error_of
from streamd_clickhouse.config import ClickHouseConfig, Target
from streamd_clickhouse.ddl import settings_known
from streamd_clickhouse.server import Server, check_settings, settings_wanted, statement_settings

_BACKSTOP = 5.0  # seconds after the limit, should cutting the socket not have ended the statement
_CLOSE_LIMIT = 2.0
_UNFIT_VALUES = (TypeMismatchError, ColumnException, LogicalError)


class Client:
    """A connection that is opened on demand and thrown away on any error."""

    def __init__(self, config: ClickHouseConfig, target: Target, log: Logger) -> None:
        self._config = config
        self._target = target
        self._log = log
        self._connection: Any = None
        self._expired = False
        self._native = True
        self._proven = False  # whether this connection has taken a block

    @property
    def encodes(self) -> bool:
        """Whether inserts take encoded blocks; otherwise the library encodes fitted values."""
        return self._native

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    async def open(self) -> Server:
        """Connect and look at the server.

        Raises Retryable, or Misconfigured if the server refuses us or lacks a setting.
        """
        target, config = self._target, self._config
        self._connection = Connection(
            host=target.host,
            port=target.port,
            user=target.user,
            password=target.password,
            # The table's name is always given in full: the database may be still to create.
            database="",
            client_name="streamd",
            secure=target.secure,
            verify=target.verify,
            ca_certs=target.ca_certs,
            alt_hosts=target.alt_hosts,
            compression=False if config.compression == "none" else config.compression,
            connect_timeout=float(config.connect_timeout),
            send_receive_timeout=float(config.timeout),
        )
        async with self._limit(config.connect_timeout + config.timeout):
            try:
                await self._connection.connect()
            except (UnexpectedPacketFromServerError, UnknownPacketFromServerError) as error:
                raise Misconfigured(
                    f"{target.host}:{target.port} does not speak ClickHouse's native protocol"
                    f" (is it the HTTP port?): {error}"
                ) from error
        server = await self._look()
        self._proven = False
        self._choose_path()
        return server

    async def query(self, statement: str) -> Sequence[Sequence[Any]]:
        """The rows that a statement returns. Raises StreamdError."""
        async with self._limit(self._config.timeout):
            rows = await self._connection._connection.execute(
                statement, settings=statement_settings(self._config)
            )
        return rows if isinstance(rows, list | tuple) else ()

    async def insert(self, statement: str, block: Block, settings: Mapping[str, Any]) -> None:
        """Insert the block; returns when the server has confirmed it. Raises StreamdError."""
        async with self._limit(self._config.timeout):
            proto = self._connection._connection
            if self._native:
                await self._insert_block(proto, statement, block, settings)
                return
            rows = list(zip(*block.values, strict=True))
            await proto.execute(statement, rows, settings=dict(settings))
            # The library reads one packet of the answer. If there are more, one of them may be an
            # exception, and this sees it in place of the pong.
            if not await proto.ping():
                raise Retryable("ClickHouse has not said whether it has stored the rows")

    async def _insert_block(
        self, proto: Any, statement: str, block: Block, settings: Mapping[str, Any]
    ) -> None:
        try:
            await native.insert(proto, statement, block, settings)
        except (AttributeError, TypeError, native.OtherColumns) as error:
            # Types that were read a moment ago have hardly changed: the server spells them in two
            # ways, and the library's encoder, which goes by the server's, gets over that.
            if not (self._proven and isinstance(error, native.OtherColumns)):
                self._native = False
                self._log.warning("Fast insert failed, the plain one takes over", error=error)
            raise
        self._proven = True

    async def close(self) -> None:
        """Say goodbye if that takes a moment, else just hang up. Raises nothing."""
        connection = self._connection
        if connection is None:
            return
        with anyio.CancelScope(shield=True), suppress(Exception):
            async with asyncio.timeout(_CLOSE_LIMIT):
                await connection.close()
        self._drop()

    async def _look(self) -> Server:
        info = self._connection._connection.server_info
        rows = await self.query(settings_known(settings_wanted(self._config)))
        server = Server(
            (info.version_major, info.version_minor, info.version_patch),
            frozenset(row[0] for row in rows),
        )
        named = info.revision >= DBMS_MIN_REVISION_WITH_SETTINGS_SERIALIZED_AS_STRINGS
        try:
            check_settings(self._config, server, None if named else sendable_to_old_servers)
        except Misconfigured:
            self._drop()
            raise
        return server

    def _choose_path(self) -> None:
        if self._native and (lacking := native.lacking(self._connection._connection)):
            self._native = False
            self._log.warning("This asynch has no fast insert, the plain one is used", no=lacking)

    @asynccontextmanager
    async def _limit(self, seconds: float) -> AsyncIterator[None]:
        """Shielded from cancellation for at most this long; on any error the connection goes."""
        self._expired = False
        timer = asyncio.get_running_loop().call_later(seconds, self._expire)
        try:
            with anyio.CancelScope(shield=True):
                async with asyncio.timeout(seconds + _BACKSTOP):
                    yield
        except BaseException as error:
            self._drop()
            stray = isinstance(error, asyncio.CancelledError) and not _is_being_cancelled()
            if isinstance(error, StreamdError) or not (stray or isinstance(error, Exception)):
                raise
            raise self._translated(error, seconds) from error
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._expired = True
        _cut(self._connection)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        _cut(connection)

    def _translated(self, error: BaseException, seconds: float) -> StreamdError:
        if self._expired or isinstance(error, TimeoutError):
            return Retryable(f"ClickHouse has not answered within {seconds:g} s")
        if isinstance(error, ServerException):
            return error_of(error.code or 0, str(error.message))
        if isinstance(error, _UNFIT_VALUES):
            return Permanent(str(error))
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            return Misconfigured(f"TLS: {error.__cause__.verify_message}")
        return Retryable(f"ClickHouse at {self._target.host}:{self._target.port}: {_said(error)}")


def _said(error: BaseException) -> str:
    """What went wrong with a connection, in one line."""
    if isinstance(error, NetworkError):
        if isinstance(error.__cause__, TimeoutError):
            return "no answer (is it the server's native port?)"
        return f"not reachable: {error.__cause__}"
    kind = "" if isinstance(error, ClickHouseException | OSError) else f"{type(error).__name__}: "
    message = getattr(error, "message", None) or str(error)
    return kind + (message or "connection lost")


def _is_being_cancelled() -> bool:
    """Whether somebody cancels this task; otherwise a CancelledError is the library's own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _cut(connection: Any) -> None:
    """Close the socket at once, whatever it has still to send."""
    if connection is None:
        return
    writer = getattr(connection._connection, "writer", None)
    stream = getattr(writer, "writer", None)
    if stream is not None:
        stream.transport.abort()
