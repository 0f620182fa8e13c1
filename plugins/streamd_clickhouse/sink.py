"""The ClickHouse sink."""

from __future__ import annotations

from types import TracebackType
from typing import Any, ClassVar, Self

import msgspec
from anyio.lowlevel import checkpoint

from streamd.api import Batch, BatchLimits, Reject, Rejected, StageContext
from streamd_clickhouse import ddl
from streamd_clickhouse.assembly import SLICE, Assembly
from streamd_clickhouse.block import Block, token_of
from streamd_clickhouse.config import DEFAULT_COLUMNS, ClickHouseConfig, target_of
from streamd_clickhouse.rows import Column
from streamd_clickhouse.schema import plan_columns
from streamd_clickhouse.server import DEDUPLICATION_TOKEN, Server, insert_settings
from streamd_columns import Columns, parse_mapping

_MIB = 1024 * 1024


class ClickHouseSink:
    """Inserts events into a ClickHouse table, by columns over the native protocol."""

    Config = ClickHouseConfig
    batch: ClassVar[BatchLimits] = BatchLimits(rows=50_000, bytes=64 * _MIB, time=1.0)

    def __init__(self, config: ClickHouseConfig, context: StageContext) -> None:
        config.check()
        self.config = config
        self.target = target_of(config)
        self.mapping = parse_mapping(config.columns or DEFAULT_COLUMNS)
        self._context = context
        self._place = (context.pipeline, context.stage, self.target.name)
        self._encoder = msgspec.json.Encoder()
        self._columns: tuple[Column, ...] = ()
        self._statement = ""
        self._settings: dict[str, Any] = {}
        self._tokens = False
        self._client: Any = None

    async def __aenter__(self) -> Self:
        """Raises Retryable or Misconfigured."""
        self._client = self._new_client()
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()

    async def healthcheck(self) -> str:
        """See `streamd.api.Probe`."""
        client = self._new_client()
        try:
            server: Server = await client.open()
            if self.config.create_table and not await client.query(ddl.find_table(self.target)):
                return f"{server.text}, {self.target.name} will be created"
            columns = self._planned(await client.query(ddl.describe_table(self.target)))
            return f"{server.text}, {self.target.name}, {len(columns)} columns"
        finally:
            await client.close()

    async def write(self, batch: Batch) -> None:
        """See `streamd.api.Sink`."""
        if not self._client.is_open:
            await self._open()
        block, rejects = await self._assemble(batch)
        if block.rows:
            settings = self._settings
            if self._tokens and batch.spans:
                token = token_of(self._place, batch, block.parts)
                settings = {**settings, DEDUPLICATION_TOKEN: token}
            await self._client.insert(self._statement, block, settings)
        if rejects:
            raise Rejected(rejects)

    def _new_client(self) -> Any:
        # asynch takes a quarter of a second to import: not before it is needed.
        from streamd_clickhouse.client import Client

        return Client(self.config, self.target, self._context.log)

    async def _open(self) -> None:
        try:
            await self._look_around()
        except BaseException:
            await self._client.close()  # no write may go by what is only half known
            raise

    async def _look_around(self) -> None:
        server: Server = await self._client.open()
        if self.config.create_table:
            await self._create(server)
        self._columns = self._planned(await self._client.query(ddl.describe_table(self.target)))
        self._statement = ddl.insert_into(self.target, [column.name for column in self._columns])
        self._settings = insert_settings(self.config)
        wanted = self.config.deduplicate and not self.config.async_insert
        self._tokens = wanted and server.has_tokens and self._client.encodes
        self._context.log.info("Connected", server=server.text, table=self.target.name)

    async def _create(self, server: Server) -> None:
        """Only what is missing: a user may have no right to create what is there."""
        query, target = self._client.query, self.target
        if await query(ddl.find_table(target)):
            return
        if not await query(ddl.find_database(target)):
            await query(ddl.create_database(target))
        await query(
            ddl.create_table(
                self.config, target, self.mapping, has_datetime64=server.has_datetime64
            )
        )

    def _planned(self, described: Any) -> tuple[Column, ...]:
        explicit = bool(self.config.columns)
        return plan_columns(described, self.mapping, table=self.target.name, explicit=explicit)

    async def _assemble(self, batch: Batch) -> tuple[Block, dict[int, Reject]]:
        assembly = Assembly(
            self._columns,
            encode=self._client.encodes,
            reject_missing=self.config.missing == "reject",
        )
        rejects: dict[int, Reject] = {}
        for first in range(0, len(batch), SLICE):
            found = assembly.add(Columns(batch, self._encoder, first, first + SLICE))
            rejects |= {first + row: reject for row, reject in found.items()}
            await checkpoint()
        return assembly.block(), rejects
