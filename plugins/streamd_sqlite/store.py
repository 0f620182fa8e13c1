"""The database, written by one thread at a time. No asyncio in here."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from streamd.api import Batch, Misconfigured, Retryable, StreamdError
from streamd_columns import Mapped
from streamd_sqlite import statements as sql
from streamd_sqlite.config import SqliteConfig
from streamd_sqlite.gaps import GapTable, Missed
from streamd_sqlite.identity import Places, Position, advance, rows_to_store
from streamd_sqlite.values import Column

_RETRYABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_PROTOCOL,
    }
)

# A constraint, a trigger or a size that one row breaks.
_ROW_ERRORS = (sqlite3.IntegrityError, sqlite3.DataError)


class Outcome(Struct, frozen=True):
    """What became of a write: rows refused and why, and how many were stored before."""

    refused: dict[int, str]
    skipped: int


class Store:
    """An open database. `sink` names this sink among those that share the database.

    A probe only looks; it has no columns where the table is still to be made. Every method raises
    Retryable or Misconfigured.
    """

    def __init__(
        self, config: SqliteConfig, mapping: Sequence[Mapped], sink: str, *, probe: bool = False
    ) -> None:
        self._config = config
        self._mapping = mapping
        self._sink = sink
        self.positions: dict[str, Position] = {}
        with translated(config.path):
            self._db = connect(config, probe)
            try:
                if not probe:
                    self._prepare()
                self.columns = self._planned(probe)
            except BaseException:
                self._db.close()
                raise
            self._file = os.stat(config.path).st_ino
        self._insert = sql.insert_into(config, [column.name for column in self.columns])

    def close(self) -> None:
        self._db.close()

    def write(self, rows: Sequence[tuple[Any, ...]], misfits: dict[int, str]) -> Outcome:
        """Insert all rows that fit and that SQLite takes, in one transaction."""
        wanted = [row for row in range(len(rows)) if row not in misfits]
        with self._transaction():
            before = self._db.total_changes
            refused = self._insert_rows(rows, wanted)
            changes = self._db.total_changes - before
        return Outcome(misfits | refused, max(0, len(wanted) - len(refused) - changes))

    def write_from_position(
        self,
        rows: Sequence[tuple[Any, ...]],
        places: Places,
        misfits: dict[int, str],
        batch: Batch,
        missed: Missed,
    ) -> Outcome:
        """The same for rows that are not stored yet, with the positions in the transaction.

        Of what was `missed` before, that is noted which these rows pass.
        """
        with self._transaction():
            before = self.positions
            fresh = rows_to_store(places, before, self._is_hole, self._gaps.stored)
            fitting = [row for row in fresh if row not in misfits]
            refused = {row: misfits[row] for row in fresh if row in misfits}
            refused |= self._insert_rows(rows, fitting)
            changed = advance(places, fresh, refused, before)
            self._note_holes(places, fresh, refused)
            gaps, still_missed = missed.passed(places.partitions, batch, before)
            stored = [row for row in fresh if row not in refused]
            self._gaps.note(gaps, places, stored, before)
            self._db.executemany(
                sql.PUT_POSITION,
                [
                    (self._sink, partition, position.last, msgspec.msgpack.encode(position.tail))
                    for partition, position in changed.items()
                ],
            )
        self.positions = before | changed
        self._gaps.add(gaps)
        missed.ranges = still_missed.ranges
        return Outcome(refused, len(rows) - len(fresh))

    def count(self) -> int:
        """The rows of the table."""
        with translated(self._config.path):
            found = self._db.execute(sql.count_rows(self._config.table)).fetchone()
        return int(found[0])

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        if self._config.create_table:
            self._db.execute(sql.create_table(self._config, self._mapping))
        if self._config.once == "position":
            self._db.execute(sql.POSITIONS)
            self._db.execute(sql.HOLES)
            rows = self._db.execute(sql.GET_POSITIONS, (self._sink,))
            self._gaps = GapTable(self._db, self._sink)
            self.positions = {
                partition: Position(last, msgspec.msgpack.decode(tail, type=dict[bytes, int]))
                for partition, last, tail in rows
            }

    def _planned(self, probe: bool) -> tuple[Column, ...]:
        config = self._config
        described = {
            row[1]: row for row in self._db.execute(sql.describe_table(config.table)).fetchall()
        }
        if not described and probe and config.create_table:
            return ()
        if not described:
            raise Misconfigured(f"{config.path} has no table {config.table}")
        wanted = [column.name for column in self._mapping]
        if config.once == "row":
            wanted.append(sql.ROW_ID)
        absent = [name for name in wanted if name not in described]
        if sql.ROW_ID in absent:
            raise Misconfigured(
                f'table {config.table} has no column {sql.ROW_ID} for once = "row": add it'
                f" ({sql.ROW_ID} BLOB UNIQUE), or choose another way in once"
            )
        if absent:
            raise Misconfigured(
                f"table {config.table} has no column {', '.join(absent)};"
                f" it has {', '.join(described)}"
            )
        return tuple(
            Column(
                column.name,
                column.source,
                described[column.name][2],
                not_null=bool(described[column.name][3]),
            )
            for column in self._mapping
        )

    def _insert_rows(
        self, rows: Sequence[tuple[Any, ...]], wanted: Sequence[int]
    ) -> dict[int, str]:
        """At once; one by one only where a constraint refuses some of them."""
        self._db.execute("SAVEPOINT rows")
        try:
            self._db.executemany(self._insert, [rows[row] for row in wanted])
        except _ROW_ERRORS:
            self._db.execute("ROLLBACK TO rows")
        else:
            return {}
        refused: dict[int, str] = {}
        for row in wanted:
            try:
                self._db.execute(self._insert, rows[row])
            except _ROW_ERRORS as error:
                refused[row] = f"table {self._config.table}: {error}"
        return refused

    def _check_file(self) -> None:
        """SQLite would go on writing into a file that somebody has deleted, and say nothing."""
        try:
            there = os.stat(self._config.path).st_ino == self._file
        except FileNotFoundError:
            there = False
        if not there:
            raise Retryable(f"{self._config.path} was deleted or replaced; it is opened again")

    def _is_hole(self, partition: str, offset: int, digest: bytes) -> bool:
        hole = (self._sink, partition, offset, digest)
        return self._db.execute(sql.FIND_HOLE, hole).fetchone() is not None

    def _note_holes(self, places: Places, fresh: Sequence[int], refused: dict[int, str]) -> None:
        """Refused rows are holes, and holes that are stored now are none any more."""

        def hole(row: int) -> tuple[str, str, int, bytes]:
            return self._sink, places.partitions[row], places.offsets[row], places.digest(row)

        self._db.executemany(sql.PUT_HOLE, [hole(row) for row in refused])
        again = [row for row in fresh if row not in refused and self._is_behind(places, row)]
        self._db.executemany(sql.FILL_HOLE, [hole(row) for row in again])

    def _is_behind(self, places: Places, row: int) -> bool:
        position = self.positions.get(places.partitions[row])
        return position is not None and places.offsets[row] <= position.last

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with translated(self._config.path):
            self._check_file()
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def connect(config: SqliteConfig, probe: bool) -> sqlite3.Connection:
    """A connection without transactions of its own; a probe makes and changes nothing."""
    path = Path(config.path)
    if not probe and config.create_table:
        path.parent.mkdir(parents=True, exist_ok=True)
    mode = "ro" if probe else "rwc" if config.create_table else "rw"
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=float(config.busy_timeout),
        isolation_level=None,  # transactions are begun here, not by the module
        check_same_thread=False,
    )


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Errors of the database come out as Retryable or Misconfigured."""
    try:
        yield
    except StreamdError:
        raise
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        kind = Retryable if code in _RETRYABLE else Misconfigured
        raise kind(f"{path}: {error}") from error
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror or error}") from error
