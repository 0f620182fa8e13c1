"""What fits a SQLite column: it is stored as it was, or named."""

import math
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd_columns import MISSING, parse_source
from streamd_sqlite.values import Column, affinity_of, fit_column

TYPES = ["", "INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC", "DATETIME", "VARCHAR(20)"]
ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**64), 2**64)
    | st.floats()
    | st.text(st.characters(), max_size=10)
    | st.from_regex(r"\s*[+-]?\d+(\.\d*)?(e\d+)?\s*", fullmatch=True)
    | st.binary(max_size=5)
    | st.lists(st.integers(), max_size=2)
    | st.just(MISSING)
)


@given(st.sampled_from(TYPES), st.lists(ANYTHING, min_size=1, max_size=6))
def test_a_value_is_stored_as_it_is_or_named(type_: str, values: list[Any]) -> None:
    column = Column("c", parse_source("c"), type_)
    fitted, misfits = fit_column(column, values, reject_missing=False)
    assert len(fitted) == len(values)
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(f"CREATE TABLE t (c {type_})")
        db.executemany("INSERT INTO t VALUES (?)", [(value,) for value in fitted])
        stored = [row[0] for row in db.execute("SELECT c FROM t ORDER BY rowid")]
    for row, (before, now) in enumerate(zip(values, stored, strict=True)):
        if row not in misfits:
            expected = None if before is MISSING else before
            assert now == expected
            assert isinstance(now, str | bytes) == isinstance(expected, str | bytes)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("INTEGER", "007"),
        ("INTEGER", 1.0),
        ("NUMERIC", "1e3"),
        ("DATETIME", " 5 "),
        ("REAL", 2**53 + 1),
        ("", math.nan),
        ("REAL", math.inf),
        ("TEXT", 5),
        ("TEXT", b"x"),
        ("", 2**63),
        ("", "\ud800"),
        ("TEXT", "\ud800"),
        ("", {"a": 1}),
        ("", [1]),
    ],
)
def test_what_would_be_changed_is_refused(type_: str, value: Any) -> None:
    column = Column("c", parse_source("c"), type_)
    _, misfits = fit_column(
        column, ["1970-01-01" if type_ != "INTEGER" else 1, value], reject_missing=False
    )
    assert 1 in misfits
    assert misfits[1].startswith("column c")


def test_times_and_ids_become_text() -> None:
    values = [datetime(2025, 11, 19, 10, 30, tzinfo=UTC), date(2025, 11, 19), UUID(int=1), "x"]
    fitted, misfits = fit_column(
        Column("c", parse_source("c"), "TEXT"), values, reject_missing=True
    )
    assert not misfits
    assert fitted == ["2025-11-19T10:30:00Z", "2025-11-19", str(UUID(int=1)), "x"]


def test_json_is_text() -> None:
    column = Column("c", parse_source("@json"), "TEXT")
    assert fit_column(column, [b'{"a":1}', MISSING], reject_missing=False)[0] == ['{"a":1}', None]
    raw = Column("c", parse_source("@raw"), "BLOB")
    assert fit_column(raw, [b"\xff", None], reject_missing=False)[0] == [b"\xff", None]


def test_nulls_where_none_are_taken() -> None:
    column = Column("c", parse_source("c"), "TEXT", not_null=True)
    assert sorted(fit_column(column, [None, "a", MISSING], reject_missing=False)[1]) == [0, 2]


def test_affinity() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        for type_ in [*TYPES, "FLOATING POINT", "DOUBLE", "CHARINT", "STRING", "BOOLEAN"]:
            db.execute(f"CREATE TABLE t (c {type_})")
            db.execute("INSERT INTO t VALUES ('5')")
            found = db.execute("SELECT typeof(c) FROM t").fetchone()[0]
            db.execute("DROP TABLE t")
            keeps = affinity_of(type_) in ("any", "blob", "text")
            assert (found == "text") is keeps, type_
