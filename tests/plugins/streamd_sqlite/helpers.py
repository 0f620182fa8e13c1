"""A sink on a database file, and what is in it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from streamd.testing import RecordedMetrics, stage_context
from streamd_sqlite.config import SqliteConfig
from streamd_sqlite.sink import SqliteSink


def sink_on(
    path: Path,
    *,
    inputs: tuple[str, ...] = ("main",),
    metrics: RecordedMetrics | None = None,
    stage: str = "sqlite",
    **settings: Any,
) -> SqliteSink:
    """A sink, not entered."""
    config = SqliteConfig(path=str(path), **settings)
    return SqliteSink(config, stage_context("sink", stage=stage, inputs=inputs, metrics=metrics))


def query(path: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows of a statement; changes are committed."""
    with closing(sqlite3.connect(path)) as db, db:
        return db.execute(sql, values).fetchall()
