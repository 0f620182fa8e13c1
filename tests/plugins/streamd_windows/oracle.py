"""The same questions asked of SQLite, over all events at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from tests.plugins.streamd_windows.harness import START, Event, Partitions

Answer = dict[tuple[Any, ...], tuple[Any, ...]]

_COLUMNS = "COUNT(*), SUM(v), MIN(v), MAX(v), COUNT(DISTINCT v), AVG(v)"


def load(partitions: Partitions, dropped: Iterable[tuple[str, int]] = ()) -> sqlite3.Connection:
    """A table of the events (time in ms since the epoch), without those that are dropped."""
    gone = set(dropped)
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE e (p TEXT, o INTEGER, t INTEGER, k, v, s TEXT)")
    db.executemany(
        "INSERT INTO e VALUES (?, ?, ?, ?, ?, ?)",
        [
            (name, offset, START + event.time, event.key, event.value, event.stream)
            for name, events in partitions.items()
            for offset, event in enumerate(events)
            if (name, offset) not in gone
        ],
    )
    return db


def windows(db: sqlite3.Connection, size: int, slide: int) -> Answer:
    """Per window start and key."""
    return _answer(
        db.execute(
            f"""
            WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?),
                 w AS (SELECT e.*, (t / ?2) * ?2 - i * ?2 AS start FROM e, n)
            SELECT start, start + ?3, k, {_COLUMNS} FROM w
            WHERE t >= start AND t < start + ?3 GROUP BY start, k
            """,
            ((size + slide - 1) // slide, slide, size),
        )
    )


def sessions(db: sqlite3.Connection, gap: int) -> Answer:
    """Per session and key."""
    return _answer(
        db.execute(
            f"""
            WITH a AS (SELECT *, t - LAG(t) OVER (PARTITION BY k ORDER BY t) AS pause FROM e),
                 b AS (SELECT *, SUM(pause IS NULL OR pause >= ?1)
                       OVER (PARTITION BY k ORDER BY t RANGE UNBOUNDED PRECEDING) AS n FROM a)
            SELECT MIN(t), MAX(t) + ?1, k, {_COLUMNS} FROM b GROUP BY k, n
            """,
            (gap,),
        )
    )


def pairs(db: sqlite3.Connection, within: int, kind: str) -> list[tuple[Any, ...]]:
    """Values of the left and right events of each result, sorted."""
    on = "ON l.k = r.k AND ABS(l.t - r.t) <= ?1"
    left = "(SELECT * FROM e WHERE s = 'left') l"
    right = "(SELECT * FROM e WHERE s = 'right') r"
    joins = {
        "inner": f"SELECT l.v, r.v FROM {left} JOIN {right} {on}",
        "left": f"SELECT l.v, r.v FROM {left} LEFT JOIN {right} {on}",
        "right": f"SELECT l.v, r.v FROM {right} LEFT JOIN {left} {on}",
        "full": f"SELECT l.v, r.v FROM {left} FULL JOIN {right} {on}",
    }
    return sorted(db.execute(joins[kind], (within,)), key=repr)


def late(events: Sequence[Event], size: int, slack: int) -> set[int]:
    """Events of one partition whose tumbling window had closed when they came."""
    db = load({"p": events})
    return {
        row[0]
        for row in db.execute(
            """
            WITH a AS (SELECT o, t, MAX(t) OVER (ORDER BY o) - ?2 AS mark FROM e)
            SELECT o FROM a WHERE (t / ?1) * ?1 + ?1 <= mark
            """,
            (size, slack),
        )
    }


def _answer(rows: Iterable[tuple[Any, ...]]) -> Answer:
    return {row[:3]: row[3:] for row in rows}
