"""The ClickHouse sink."""

from __future__ import annotations

from types import TracebackType
from typing import Any, ClassVar, Self

import msgspec
from anyio.lowlevel import checkpoint

from streamd.api import Batch, BatchLimits, Reject, Rejected, StageContext
from streamd_clickhouse import ddl
from streamd_clickhouse.block import Block, encode_column, token_of
from streamd_clickhouse.config import DEFAULT_COLUMNS, ClickHouseConfig, target_of
from streamd_clickhouse.rows import Column, Fitted, fit_column, rejects_of
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
        batch, fitted, rejects = await self._fit(batch)
        if len(batch):
            await self._insert(batch, fitted)
        if rejects:
            raise Rejected(rejects)

    def _new_client(self) -> Any:
        # asynch takes a quarter of a second to import: not before it is needed.
        from streamd_clickhouse.client import Client

        return Client(self.config, self.target, self._context.log)

    async def _open(self) -> None:
        server: Server = await self._client.open()
        if self.config.create_table:
            await self._client.query(ddl.create_database(self.target))
            statement = ddl.create_table(
                self.config, self.target, self.mapping, has_datetime64=server.has_datetime64
            )
            await self._client.query(statement)
        self._columns = self._planned(await self._client.query(ddl.describe_table(self.target)))
        self._statement = ddl.insert_into(self.target, [column.name for column in self._columns])
        self._settings = insert_settings(self.config)
        self._tokens = (
            self.config.deduplicate and server.has_tokens and not self.config.async_insert
        )
        self._context.log.info("Connected", server=server.text, table=self.target.name)

    def _planned(self, described: Any) -> tuple[Column, ...]:
        explicit = bool(self.config.columns)
        return plan_columns(described, self.mapping, table=self.target.name, explicit=explicit)

    async def _fit(self, batch: Batch) -> tuple[Batch, list[list[Any]], dict[int, Reject]]:
        """The rows that fit, their columns, and why the others do not."""
        columns = Columns(batch, self._encoder)
        reject_missing = self.config.missing == "reject"
        fitted: list[Fitted] = []
        for column in self._columns:
            values = columns.of(column.source)
            fitted.append(fit_column(column, values, reject_missing=reject_missing))
            await checkpoint()  # a large batch must not hold up the others
        rejects = rejects_of(self._columns, fitted)
        if not rejects:
            return batch, [column.values for column in fitted], rejects
        good = [row for row in range(len(batch)) if row not in rejects]
        return batch.take(good), [[c.values[row] for row in good] for c in fitted], rejects

    async def _insert(self, batch: Batch, fitted: list[list[Any]]) -> None:
        parts: list[bytes] = []
        for column, values in zip(self._columns, fitted, strict=True):
            parts.append(encode_column(column, values))
            await checkpoint()
        settings = self._settings
        if self._tokens and batch.spans:
            settings = {**settings, DEDUPLICATION_TOKEN: token_of(self._place, batch, parts)}
        names = tuple((column.name, column.spelling) for column in self._columns)
        await self._client.insert(self._statement, Block(names, fitted, parts), settings)
