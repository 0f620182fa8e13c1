"""The SQLite sink's table as a store of dead letters. Synchronous but for the store itself."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from anyio import to_thread

from streamd.api import DeadLetterStore, Misconfigured, StoredLetter
from streamd_columns import Mapped
from streamd_sqlite.config import SqliteConfig
from streamd_sqlite.statements import quote
from streamd_sqlite.store import connect, translated

T = TypeVar("T")

_AT_A_TIME = 500


@asynccontextmanager
async def open_letters(
    config: SqliteConfig, mapping: Sequence[Mapped]
) -> AsyncIterator[DeadLetterStore]:
    """Raises Misconfigured if no column holds whole documents, or there is no such table."""
    whole = [column.name for column in mapping if column.source.text == "@json"]
    if not whole:
        raise Misconfigured(
            'no column holds the whole dead letter: map one from "@json" to read them back'
        )
    yield Letters(config, whole[0])


class Letters:
    """A place is a row id. A row id may be given to another row later, the version tells."""

    def __init__(self, config: SqliteConfig, column: str) -> None:
        self._config = config
        self._table, self._column = quote(config.table), quote(column)

    async def read(self, after: str = "") -> AsyncIterator[StoredLetter]:
        """See `DeadLetterStore`."""
        last = int(after) if after else None
        while rows := await to_thread.run_sync(self._page, last):
            for rowid, text in rows:
                yield _letter(rowid, text)
            last = rows[-1][0]

    async def remove(self, letters: Sequence[StoredLetter]) -> int:
        """See `DeadLetterStore`."""
        return await to_thread.run_sync(self._remove, letters)

    def _page(self, after: int | None) -> list[tuple[int, Any]]:
        if not Path(self._config.path).exists():
            return []
        query = (
            f"SELECT rowid, {self._column} FROM {self._table}"
            " WHERE ? IS NULL OR rowid > ? ORDER BY rowid LIMIT ?"
        )
        return self._with(
            lambda db: db.execute(query, (after, after, _AT_A_TIME)).fetchall(), probe=True
        )

    def _remove(self, letters: Sequence[StoredLetter]) -> int:
        """All in one transaction."""
        find = f"SELECT {self._column} FROM {self._table} WHERE rowid = ?"
        delete = f"DELETE FROM {self._table} WHERE rowid = ?"

        def work(db: sqlite3.Connection) -> int:
            gone = 0
            db.execute("BEGIN IMMEDIATE")
            for letter in letters:
                row = (int(letter.place),)
                found = db.execute(find, row).fetchone()
                if found is not None and _version(found[0]) == letter.version:
                    gone += db.execute(delete, row).rowcount
            db.execute("COMMIT")
            return gone

        return self._with(work)

    def _with(self, work: Callable[[sqlite3.Connection], T], *, probe: bool = False) -> T:
        with translated(self._config.path), closing(connect(self._config, probe)) as db:
            return work(db)


def _letter(rowid: int, text: Any) -> StoredLetter:
    place, version = str(rowid), _version(text)
    try:
        return StoredLetter(place, version, msgspec.json.decode(text, type=dict[str, Any]))
    except (ValueError, TypeError) as error:
        return StoredLetter(place, version, {}, str(error))


def _version(text: Any) -> str:
    raw = text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=16).hexdigest()
