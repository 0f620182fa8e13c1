"""The SQL of the sink, as pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streamd_columns import Mapped
from streamd_sqlite.config import SqliteConfig

ROW_ID = "streamd_row"
"""The column that holds the identity of a row with once = "row"."""

POSITIONS = """\
CREATE TABLE IF NOT EXISTS streamd_positions (
    sink TEXT NOT NULL, "partition" TEXT NOT NULL, last INTEGER NOT NULL, tail BLOB NOT NULL,
    PRIMARY KEY (sink, "partition")
) WITHOUT ROWID"""
HOLES = """\
CREATE TABLE IF NOT EXISTS streamd_holes (
    sink TEXT NOT NULL, "partition" TEXT NOT NULL, "offset" INTEGER NOT NULL, row BLOB NOT NULL,
    PRIMARY KEY (sink, "partition", "offset", row)
) WITHOUT ROWID"""
GAPS = """\
CREATE TABLE IF NOT EXISTS streamd_gaps (
    sink TEXT NOT NULL, "partition" TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (sink, "partition", first, last)
) WITHOUT ROWID"""
FILLED = """\
CREATE TABLE IF NOT EXISTS streamd_filled (
    sink TEXT NOT NULL, "partition" TEXT NOT NULL, "offset" INTEGER NOT NULL, row BLOB NOT NULL,
    rows INTEGER NOT NULL, PRIMARY KEY (sink, "partition", "offset", row)
) WITHOUT ROWID"""
GET_GAPS = 'SELECT "partition", first, last FROM streamd_gaps WHERE sink = ?'
PUT_GAP = "INSERT OR IGNORE INTO streamd_gaps VALUES (?, ?, ?, ?)"
GET_POSITIONS = 'SELECT "partition", last, tail FROM streamd_positions WHERE sink = ?'
PUT_POSITION = "INSERT OR REPLACE INTO streamd_positions VALUES (?, ?, ?, ?)"
_THE_HOLE = 'WHERE sink = ? AND "partition" = ? AND "offset" = ? AND row = ?'
FIND_HOLE = f"SELECT 1 FROM streamd_holes {_THE_HOLE}"
FILL_HOLE = f"DELETE FROM streamd_holes {_THE_HOLE}"
PUT_HOLE = "INSERT OR IGNORE INTO streamd_holes VALUES (?, ?, ?, ?)"
GET_FILLED = f"SELECT rows FROM streamd_filled {_THE_HOLE}"
FILL_GAP = (
    "INSERT INTO streamd_filled VALUES (?, ?, ?, ?, ?)"
    ' ON CONFLICT (sink, "partition", "offset", row) DO UPDATE SET rows = rows + excluded.rows'
)

_TYPES = {
    "json": "TEXT",
    "status": "TEXT",
    "partition": "TEXT",
    "topic": "TEXT",
    "offset": "INTEGER",
    "timestamp": "INTEGER",
    "ms": "INTEGER",
    "raw": "BLOB",
    "key": "BLOB",
    "header": "BLOB",
}


def quote(name: str) -> str:
    """An identifier."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def create_table(config: SqliteConfig, columns: Sequence[Mapped]) -> str:
    """The table of the mapping. A column of a path has no type: it keeps any value as it is."""
    definitions = [
        f"{quote(column.name)} {column.type or _TYPES.get(column.source.kind, '')}".rstrip()
        for column in columns
    ]
    if config.once == "row":
        definitions.append(f"{ROW_ID} BLOB NOT NULL UNIQUE")
    if config.once == "key":
        definitions.append(f"PRIMARY KEY ({_names(config.key)})")
    return f"CREATE TABLE IF NOT EXISTS {quote(config.table)} ({', '.join(definitions)})"


def describe_table(table: str) -> str:
    """Rows of cid, name, type, notnull, default, pk."""
    return f"PRAGMA table_info({quote(table)})"


def count_rows(table: str) -> str:
    return f"SELECT count(*) FROM {quote(table)}"


def insert_into(config: SqliteConfig, names: Sequence[str]) -> str:
    """Takes the columns in this order, and the identity last with once = "row"."""
    columns = [*names, ROW_ID] if config.once == "row" else list(names)
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {quote(config.table)} ({_names(columns)}) VALUES ({marks})"
    if config.once == "row":
        return f"{statement} ON CONFLICT ({ROW_ID}) DO NOTHING"
    if config.once == "key":
        others = [name for name in names if name not in config.key]
        changes = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in others)
        action = f"UPDATE SET {changes}" if changes else "NOTHING"
        return f"{statement} ON CONFLICT ({_names(config.key)}) DO {action}"
    return statement


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(quote, names))
