"""Registered schemas in a SQLite file. A version, once written, is never changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

_TABLES = """
CREATE TABLE IF NOT EXISTS subjects (name TEXT PRIMARY KEY, level TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS versions (
    name TEXT NOT NULL, version INTEGER NOT NULL, schema TEXT NOT NULL,
    registered_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ')),
    PRIMARY KEY (name, version)
);
"""
_IS_READY = "SELECT 1 FROM sqlite_master WHERE name = 'versions'"  # the table made last
_BUSY = 5.0  # seconds to wait for another process's lock

Versions = dict[int, Any]


class Store:
    """Opens the file for each operation: they are rare, and any thread or process may come.

    Every method raises sqlite3.Error if the file cannot be read or written. A file that does not
    exist is empty; it is made by the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        return [name for (name,) in self._read("SELECT DISTINCT name FROM versions")]

    def versions(self, name: str) -> Versions:
        """Schemas as they were registered, by version."""
        rows = self._read("SELECT version, schema FROM versions WHERE name = ?", name)
        return {version: msgspec.json.decode(text) for version, text in rows}

    def level(self, name: str) -> str | None:
        rows = self._read("SELECT level FROM subjects WHERE name = ?", name)
        return next((level for (level,) in rows), None)

    def set_level(self, name: str, level: str) -> None:
        with self._write() as connection:
            _put_level(connection, name, level)

    def add(
        self,
        name: str,
        version: int,
        schema: Any,
        *,
        level: str | None,
        check: Callable[[Versions, str | None], None],
    ) -> None:
        """Add a version, and set the subject's level unless it is None.

        `check` is called with what the subject has (versions, level) while nobody else can write;
        what it raises leaves everything as it was.
        """
        with self._write() as connection:
            rows = connection.execute(
                "SELECT version, schema FROM versions WHERE name = ?", (name,)
            )
            versions = {number: msgspec.json.decode(text) for number, text in rows}
            levels = connection.execute("SELECT level FROM subjects WHERE name = ?", (name,))
            check(versions, next((one for (one,) in levels), None))
            if version not in versions:
                connection.execute(
                    "INSERT INTO versions (name, version, schema) VALUES (?, ?, ?)",
                    (name, version, msgspec.json.encode(schema).decode()),
                )
            if level is not None:
                _put_level(connection, name, level)

    def _read(self, sql: str, *parameters: str) -> list[tuple[Any, ...]]:
        if not self.path.exists():
            return []
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, timeout=_BUSY, uri=True)) as connection:
            # Another process may have made the file and not its tables yet.
            if not connection.execute(_IS_READY).fetchone():
                return []
            return connection.execute(sql, parameters).fetchall()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None)) as connection:
            connection.executescript(_TABLES)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise


def _put_level(connection: sqlite3.Connection, name: str, level: str) -> None:
    connection.execute(
        "INSERT INTO subjects (name, level) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET level = excluded.level",
        (name, level),
    )
