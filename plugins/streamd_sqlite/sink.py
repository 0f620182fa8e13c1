"""The SQLite sink."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import anyio
import anyio.to_thread
import msgspec

from streamd.api import (
    DEAD_LETTERS,
    Batch,
    BatchLimits,
    DeadLetterStore,
    Reject,
    Rejected,
    StageContext,
)
from streamd_columns import Columns, parse_mapping, parse_source
from streamd_sqlite.config import SqliteConfig
from streamd_sqlite.gaps import Missed
from streamd_sqlite.identity import Places, lasting_content, row_digest, row_digests
from streamd_sqlite.letters import open_letters
from streamd_sqlite.store import Outcome, Store
from streamd_sqlite.values import fit_column

_PARTITION = parse_source("@partition")
_MIB = 1024 * 1024
T = TypeVar("T")


class SqliteSink:
    """Inserts events into a table of a SQLite database, each exactly once."""

    Config = SqliteConfig
    batch: ClassVar[BatchLimits] = BatchLimits(rows=5000, bytes=16 * _MIB, time=0.1)

    def __init__(self, config: SqliteConfig, context: StageContext) -> None:
        config.check(context.inputs)
        self.config = config
        self.needs_order = config.once == "position"
        self._mapping = parse_mapping(config.mapping(context.inputs))
        self._context = context
        self._dead_letters = DEAD_LETTERS in context.inputs
        self._encoder = msgspec.json.Encoder()
        self._store: Store | None = None
        self._missed = Missed()
        self._thread = anyio.CapacityLimiter(1)
        self._skipped = context.metrics.counter(
            "rows_already_stored_total", "Rows left out because they were stored before."
        )

    async def __aenter__(self) -> Self:
        """Raises Retryable or Misconfigured."""
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()

    async def healthcheck(self) -> str:
        """See `streamd.api.Probe`. Makes neither file nor table."""
        return await self._in_thread(self._probe)

    async def backlog(self) -> int:
        """See `streamd.api.Backlog`."""
        store = self._store or await self._open()
        return await self._in_thread(store.count)

    def dead_letters(self) -> AbstractAsyncContextManager[DeadLetterStore]:
        """See `streamd.api.KeepsDeadLetters`."""
        return open_letters(self.config, self._mapping)

    async def write(self, batch: Batch) -> None:
        """See `streamd.api.Sink`."""
        try:
            store = self._store or await self._open()
            outcome = await self._in_thread(partial(self._write, store, batch))
        except BaseException:
            if self.config.once == "position":
                self._missed.failed(self._partitions(batch), batch)
            await self._close()  # what is left of a failed write is found out by opening again
            raise
        self._skipped.inc(outcome.skipped)
        if outcome.refused:
            raise Rejected(
                {row: Reject("column", text) for row, text in sorted(outcome.refused.items())}
            )

    def _write(self, store: Store, batch: Batch) -> Outcome:
        events = Columns(batch, self._encoder)
        columns: list[list[Any]] = []
        misfits: dict[int, str] = {}
        for column in store.columns:
            values, found = fit_column(
                column, events.of(column.source), reject_missing=self.config.missing == "reject"
            )
            columns.append(values)
            for row, text in found.items():
                misfits[row] = f"{misfits[row]}; {text}" if row in misfits else text
        rows = list(zip(*columns, strict=True))
        partitions = self._partitions(batch)
        if self.config.once == "position":
            places = self._places(batch, partitions, rows)
            return store.write_from_position(rows, places, misfits, batch, self._missed)
        if self.config.once == "row":
            contents = [self._content(batch, row, values) for row, values in enumerate(rows)]
            digests = row_digests(zip(partitions, batch.offsets, strict=True), contents)
            rows = [(*values, digest) for values, digest in zip(rows, digests, strict=True)]
        return store.write(rows, misfits)

    def _partitions(self, batch: Batch) -> list[str]:
        return Columns(batch, self._encoder).of(_PARTITION)

    def _places(self, batch: Batch, partitions: list[str], rows: list[tuple[Any, ...]]) -> Places:
        offsets = batch.offsets

        @cache
        def digest(row: int) -> bytes:
            content = self._content(batch, row, rows[row])
            return row_digest(partitions[row], offsets[row], content)

        return Places(partitions, offsets, digest)

    def _content(self, batch: Batch, row: int, values: tuple[Any, ...]) -> Any:
        """What a row says, for its identity."""
        if self._dead_letters:
            value = batch.values[row]
            if isinstance(value, dict) and "dlq_id" in value:
                return lasting_content(value)
        return values

    def _probe(self) -> str:
        config = self.config
        if config.create_table and not Path(config.path).exists():
            return f"{config.path} will be made"
        store = self._new_store(probe=True)
        store.close()
        if not store.columns:
            return f"{config.path}, table {config.table} will be made"
        return f"{config.path}, table {config.table}, {len(store.columns)} columns"

    def _new_store(self, *, probe: bool = False) -> Store:
        sink = "/".join((self._context.pipeline, self._context.stage, self.config.table))
        return Store(self.config, self._mapping, sink, probe=probe)

    async def _open(self) -> Store:
        self._store = await self._in_thread(self._new_store)
        return self._store

    async def _close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            with anyio.CancelScope(shield=True):
                await self._in_thread(store.close)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """One after the other, and never abandoned: the database is used by one thread."""
        return await anyio.to_thread.run_sync(work, limiter=self._thread)
