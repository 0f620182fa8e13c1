"""Where checkpoints live: positions and state of an epoch in one SQLite transaction."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import anyio
from anyio import to_thread

from streamd.api import Retryable
from streamd.engine.ledger import Cut

T = TypeVar("T")
StateRow = tuple[str, bytes, bytes]
Positions = dict[str, dict[str, int]]


class Checkpoint(NamedTuple):
    """The last checkpoint of a pipeline: its epoch, and positions per source and partition."""

    epoch: int
    positions: Positions


class Store(Protocol):
    """Durable checkpoints. `id` tells one store from another in the tags of commits."""

    id: str

    async def last(self, pipeline: str) -> Checkpoint: ...

    async def positions(self, pipeline: str, partitions: Collection[str]) -> Positions:
        """The stored positions of these partitions, per source."""
        ...

    async def state(
        self, pipeline: str, step: str, key: str, partitions: Collection[str]
    ) -> list[StateRow]:
        """What a step remembers of the partitions, under this state key."""
        ...

    async def state_keys(self, pipeline: str, step: str) -> set[str]:
        """The state keys under which anything is stored for a step."""
        ...

    async def steps(self, pipeline: str) -> set[str]:
        """The steps for which any state is stored."""
        ...

    async def save(self, pipeline: str, epoch: int, cut: Cut) -> None:
        """Store a cut, all of it or nothing.

        Raises Retryable if it cannot be stored now.
        """
        ...

    async def drop(self, pipeline: str, partitions: Collection[str]) -> None:
        """Forget positions and state of partitions that another daemon has advanced."""
        ...

    async def drop_state(self, pipeline: str, step: str, keep: str) -> None:
        """Forget what is stored for a step under other state keys than this."""
        ...


_SCHEMA = """
CREATE TABLE IF NOT EXISTS store (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS epochs (
    pipeline TEXT PRIMARY KEY, epoch INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions (
    pipeline TEXT, source TEXT, partition TEXT, position INTEGER NOT NULL,
    PRIMARY KEY (pipeline, source, partition)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS positions_by_partition ON positions (pipeline, partition);
CREATE TABLE IF NOT EXISTS state (
    pipeline TEXT, step TEXT, state_key TEXT, partition TEXT, key BLOB, value BLOB NOT NULL,
    PRIMARY KEY (pipeline, step, state_key, partition, key)
) WITHOUT ROWID;
"""


class SqliteStore:
    """The default store, one file for all pipelines of a daemon.

    Calls run in a worker thread, one at a time. WAL with synchronous=FULL: a checkpoint that was
    reported as stored outlives a power cut.
    """

    id: str

    def __init__(self, path: Path) -> None:
        self._path = path
        self._one = anyio.CapacityLimiter(1)

    async def __aenter__(self) -> SqliteStore:
        await self._call(self._open)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._call(self._db.close)

    async def last(self, pipeline: str) -> Checkpoint:
        return await self._call(lambda: self._last(pipeline))

    async def positions(self, pipeline: str, partitions: Collection[str]) -> Positions:
        def read() -> Positions:
            found: Positions = {}
            for partition in partitions:
                for source, position in self._db.execute(
                    "SELECT source, position FROM positions WHERE pipeline = ? AND partition = ?",
                    (pipeline, partition),
                ):
                    found.setdefault(source, {})[partition] = position
            return found

        return await self._call(read)

    async def state(
        self, pipeline: str, step: str, key: str, partitions: Collection[str]
    ) -> list[StateRow]:
        def read() -> list[StateRow]:
            rows: list[StateRow] = []
            for partition in partitions:
                rows += self._db.execute(
                    "SELECT partition, key, value FROM state"
                    " WHERE pipeline = ? AND step = ? AND state_key = ? AND partition = ?",
                    (pipeline, step, key, partition),
                ).fetchall()
            return rows

        return await self._call(read)

    async def state_keys(self, pipeline: str, step: str) -> set[str]:
        def read() -> set[str]:
            query = "SELECT DISTINCT state_key FROM state WHERE pipeline = ? AND step = ?"
            return {key for (key,) in self._db.execute(query, (pipeline, step))}

        return await self._call(read)

    async def steps(self, pipeline: str) -> set[str]:
        query = "SELECT DISTINCT step FROM state WHERE pipeline = ?"
        return await self._call(lambda: {step for (step,) in self._db.execute(query, (pipeline,))})

    async def save(self, pipeline: str, epoch: int, cut: Cut) -> None:
        await self._call(lambda: self._save(pipeline, epoch, cut))

    async def drop(self, pipeline: str, partitions: Collection[str]) -> None:
        def delete() -> None:
            with self._db:
                self._db.executemany(
                    "DELETE FROM positions WHERE pipeline = ? AND partition = ?",
                    [(pipeline, partition) for partition in partitions],
                )
                self._db.executemany(
                    "DELETE FROM state WHERE pipeline = ? AND partition = ?",
                    [(pipeline, partition) for partition in partitions],
                )

        await self._call(delete)

    async def drop_state(self, pipeline: str, step: str, keep: str) -> None:
        def delete() -> None:
            with self._db:
                self._db.execute(
                    "DELETE FROM state WHERE pipeline = ? AND step = ? AND state_key <> ?",
                    (pipeline, step, keep),
                )

        await self._call(delete)

    async def _call(self, function: Callable[[], T]) -> T:
        # Not abandoned on cancel: the connection serves one call at a time.
        try:
            return await to_thread.run_sync(function, limiter=self._one)
        except sqlite3.OperationalError as error:
            raise Retryable(f"{self._path}: {error}") from error

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self._path, check_same_thread=False, timeout=10)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            found = self._db.execute("SELECT id FROM store").fetchone()
            self.id = found[0] if found else uuid.uuid4().hex[:16]
            if not found:
                self._db.execute("INSERT INTO store VALUES (?)", (self.id,))

    def _last(self, pipeline: str) -> Checkpoint:
        found = self._db.execute(
            "SELECT epoch FROM epochs WHERE pipeline = ?", (pipeline,)
        ).fetchone()
        positions: Positions = {}
        for source, partition, position in self._db.execute(
            "SELECT source, partition, position FROM positions WHERE pipeline = ?", (pipeline,)
        ):
            positions.setdefault(source, {})[partition] = position
        return Checkpoint(found[0] if found else 0, positions)

    def _save(self, pipeline: str, epoch: int, cut: Cut) -> None:
        latest = {(pipeline, *change[:4]): change[4] for change in cut.changes}
        with self._db:
            self._db.execute(
                "INSERT INTO epochs VALUES (?, ?)"
                " ON CONFLICT (pipeline) DO UPDATE SET epoch = excluded.epoch",
                (pipeline, epoch),
            )
            self._db.executemany(
                "INSERT INTO positions VALUES (?, ?, ?, ?)"
                " ON CONFLICT (pipeline, source, partition)"
                " DO UPDATE SET position = excluded.position",
                [
                    (pipeline, source, partition, position)
                    for source, positions in cut.positions.items()
                    for partition, position in positions.items()
                ],
            )
            self._db.executemany(
                "DELETE FROM state WHERE pipeline = ? AND step = ? AND state_key = ?"
                " AND partition = ? AND key = ?",
                [row for row, value in latest.items() if value is None],
            )
            self._db.executemany(
                "INSERT INTO state VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT"
                " (pipeline, step, state_key, partition, key) DO UPDATE SET value = excluded.value",
                [(*row, value) for row, value in latest.items() if value is not None],
            )
