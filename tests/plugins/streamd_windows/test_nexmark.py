"""The shipped Nexmark example through a whole pipeline, against SQL over the same events."""

from __future__ import annotations

import importlib.util
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from streamd.testing.cases import run_case

EXAMPLE = Path(__file__).resolve().parents[3] / "config" / "examples" / "nexmark"
COUNT, APART = 10_000, 20


def events() -> list[dict[str, Any]]:
    spec = importlib.util.spec_from_file_location("nexmark", EXAMPLE / "plugins.d/nexmark.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [module.event(number, APART) for number in range(COUNT)]


@pytest.fixture
def db() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE e (kind, at, id, seller, auction, bidder, price)")
    names = ("kind", "at", "id", "seller", "auction", "bidder", "price")
    rows = [[event.get(name) for name in names] for event in events()]
    db.executemany("INSERT INTO e VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    db.execute("CREATE VIEW bid AS SELECT * FROM e WHERE kind = 'bid'")
    return db


QUERIES = {
    "q5": """
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 4),
             c AS (SELECT (at / 2000 - i) * 2000 AS start, auction, COUNT(*) AS bids
                   FROM bid, n GROUP BY 1, 2),
             r AS (SELECT *, ROW_NUMBER() OVER
                   (PARTITION BY start ORDER BY bids DESC, auction) AS place FROM c)
        SELECT start, auction, bids FROM r WHERE place = 1
    """,
    "q7": """
        WITH r AS (SELECT at / 10000 * 10000 AS start, *, ROW_NUMBER() OVER
                   (PARTITION BY at / 10000 ORDER BY price DESC, auction, bidder) AS place
                   FROM bid)
        SELECT start, price, auction, bidder FROM r WHERE place = 1
    """,
    "q8": """
        SELECT p.id, a.id FROM e p JOIN e a ON p.id = a.seller AND ABS(p.at - a.at) <= 10000
        WHERE p.kind = 'person' AND a.kind = 'auction'
    """,
    "q11": """
        WITH a AS (SELECT bidder, at, at - LAG(at) OVER (PARTITION BY bidder ORDER BY at) AS pause
                   FROM bid),
             b AS (SELECT *, SUM(pause IS NULL OR pause >= 5000) OVER
                   (PARTITION BY bidder ORDER BY at RANGE UNBOUNDED PRECEDING) AS n FROM a)
        SELECT bidder, MIN(at), MAX(at) + 5000, COUNT(*) FROM b GROUP BY bidder, n
    """,
}


def shown(row: dict[str, Any]) -> tuple[Any, ...]:
    match row["window"]:
        case "q5":
            (hot,) = row["hot"]
            return row["start"], hot["value"], hot["count"]
        case "q7":
            highest = row["highest"]
            return row["start"], highest["price"], highest["auction"], highest["bidder"]
        case "q8":
            return row["left"]["id"], row["right"]["id"]
        case _:
            return row["key"]["bidder"], row["start"], row["end"], row["bids"]


async def test_answers_are_those_of_sql(
    db: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLE)
    written = await run_case(EXAMPLE, tmp_path)
    assert written["late"] == []
    for query, text in QUERIES.items():
        found = sorted(shown(row) for row in written["out"] if row["window"] == query)
        assert found == sorted(db.execute(text)), query
        assert len(found) > 10, query
