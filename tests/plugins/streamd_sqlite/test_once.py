"""Each row exactly once, however the stream is cut, cut off and read again."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.api import Batch, Duration, Misconfigured, Rejected, Retryable, Span, merge
from streamd.testing.batches import batch_of, sample_event
from streamd_columns import ColumnDef
from streamd_sqlite.sink import SqliteSink
from streamd_sqlite.store import Store
from tests.plugins.streamd_sqlite.helpers import query, sink_on

COLUMNS: dict[str, str | ColumnDef] = {
    "id": "id",
    "n": ColumnDef("n", "INTEGER"),
    "partition": "@partition",
    "offset": "@offset",
}


def rows_at(values: list[Any], offsets: list[int], partition: str = "t:0") -> Batch:
    span = Span(partition, offsets[0], offsets[-1] + 1, len(values))
    return Batch(values, offsets=offsets, timestamps=[0] * len(values), spans=[span])


def ids(path: Path) -> list[str]:
    return [row[0] for row in query(path, "SELECT id FROM events ORDER BY rowid")]


async def test_offsets_that_start_again_lose_nothing(tmp_path: Path) -> None:
    """A generator, a truncated file, a topic that was made anew."""
    path = tmp_path / "x.db"
    async with sink_on(path) as sink:
        await sink.write(batch_of([sample_event(1), sample_event(2)]))
    async with sink_on(path) as sink:
        await sink.write(batch_of([sample_event(3), sample_event(4)]))
    assert len(ids(path)) == 4


async def test_interleaved_and_late_rows_lose_nothing(tmp_path: Path) -> None:
    """Dead letters: one that was tried longer comes after its successors."""
    path = tmp_path / "x.db"
    async with sink_on(path, inputs=("dead_letters",), columns=COLUMNS) as sink:
        await sink.write(rows_at([{"id": "c"}, {"id": "e"}], [3, 5]))
        await sink.write(rows_at([{"id": "a"}, {"id": "d"}], [1, 4]))
        await sink.write(rows_at([{"id": "b"}], [3]))
    assert ids(path) == ["c", "e", "a", "d", "b"]


async def test_a_dead_letter_made_again_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    letter = {
        "dlq_id": "dlq_1_a",
        "original_message": msgspec.Raw(b'{"id":"a"}'),
        "error": {"type": "ValueError", "message": "x", "traceback": "..."},
        "stage": "clickhouse",
        "retry_count": 3,
        "failed_at": "2025-11-19T10:30:00Z",
    }
    later = {**letter, "failed_at": "2025-11-19T11:00:00Z", "retry_count": 0}
    elsewhere = {**letter, "stage": "kafka"}
    async with sink_on(path, inputs=("dead_letters",)) as sink:
        await sink.write(batch_of([letter], raws=[b""]))
        await sink.write(batch_of([later], raws=[b""]))
        await sink.write(batch_of([elsewhere], raws=[b""]))
    rows = query(path, "SELECT id, timestamp, json_extract(event, '$.stage') FROM events")
    assert rows == [
        ("dlq_1_a", "2025-11-19T10:30:00Z", "clickhouse"),
        ("dlq_1_a", "2025-11-19T10:30:00Z", "kafka"),
    ]


@pytest.mark.parametrize("once", ["row", "position"])
async def test_rows_of_one_event_cut_by_a_write(tmp_path: Path, once: str) -> None:
    path = tmp_path / "x.db"
    rows = [{"id": "a"}, {"id": "b"}, {"id": "c"}]
    async with sink_on(path, once=once, columns=COLUMNS) as sink:
        await sink.write(rows_at(rows[:1], [7]))
        await sink.write(rows_at(rows[1:], [7, 7]))
        await sink.write(rows_at([*rows, {"id": "d"}], [7, 7, 7, 8]))
    assert ids(path) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("once", ["row", "position"])
async def test_equal_rows_of_one_event_are_all_there(tmp_path: Path, once: str) -> None:
    path = tmp_path / "x.db"
    for _ in range(2):
        async with sink_on(path, once=once, columns=COLUMNS) as sink:
            await sink.write(rows_at([{"id": "a"}] * 3, [7, 7, 7]))
    assert ids(path) == ["a"] * 3


@pytest.mark.parametrize("once", ["row", "position"])
async def test_a_rejected_row_is_not_taken_for_a_stored_one(tmp_path: Path, once: str) -> None:
    """A policy may wait for a person and then write the row again, now or after a restart."""
    path = tmp_path / "x.db"
    bad = {"id": "b", "n": "five"}
    async with sink_on(path, once=once, columns=COLUMNS) as sink:
        with pytest.raises(Rejected):
            await sink.write(rows_at([{"id": "a"}, bad, {"id": "c"}], [1, 2, 3]))
        with pytest.raises(Rejected):
            await sink.write(rows_at([bad], [2]))
        await sink.write(rows_at([{"id": "d"}], [4]))
    async with sink_on(path, once=once, columns=COLUMNS) as sink:
        with pytest.raises(Rejected) as caught:
            await sink.write(rows_at([{"id": "a"}, bad, {"id": "c"}, {"id": "d"}], [1, 2, 3, 4]))
        assert list(caught.value.rows) == [1]
    assert ids(path) == ["a", "c", "d"]


async def test_a_hole_that_is_filled_is_none_any_more(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    query(path, 'CREATE TABLE events (id, n CHECK (n < 5), "partition", "offset")')
    rows = rows_at([{"id": "a", "n": 9}, {"id": "b", "n": 1}], [1, 2])
    async with sink_on(path, once="position", columns=COLUMNS) as sink:
        with pytest.raises(Rejected):
            await sink.write(rows)
    query(path, "ALTER TABLE events RENAME TO old")
    query(path, 'CREATE TABLE events (id, n, "partition", "offset")')
    async with sink_on(path, once="position", columns=COLUMNS) as sink:
        await sink.write(rows)
        await sink.write(rows)
    assert ids(path) == ["a"]
    assert query(path, "SELECT count(*) FROM streamd_holes") == [(0,)]


async def test_derived_partitions_count_for_themselves(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    batch = merge(
        [
            rows_at([{"id": "a"}], [100]),
            rows_at([{"id": "w"}], [0], partition="per_minute:t:0"),
            rows_at([{"id": "b"}], [101]),
        ]
    )
    async with sink_on(path, once="position", columns=COLUMNS) as sink:
        await sink.write(batch)
        await sink.write(batch)
        await sink.write(rows_at([{"id": "v"}], [1], partition="per_minute:t:0"))
    assert ids(path) == ["a", "w", "b", "v"]


# --- the law ---------------------------------------------------------------------------------

STREAM = st.lists(st.integers(0, 3), min_size=1, max_size=12)  # rows that each event becomes
PLAN = st.lists(st.tuples(st.integers(1, 7), st.sampled_from(["go on", "restart", "replay"])))


def rows_of(stream: list[int]) -> tuple[list[dict[str, Any]], list[int]]:
    """All rows and their offsets; each row with a content of its own, and every fifth unfit."""
    rows: list[dict[str, Any]] = []
    offsets: list[int] = []
    for offset, count in enumerate(stream):
        for part in range(count):
            number = len(rows)
            rows.append({"id": f"{offset}.{part}", "n": "unfit" if number % 5 == 4 else number})
            offsets.append(offset)
    return rows, offsets


@pytest.mark.parametrize("once", ["row", "position"])
@settings(max_examples=40, deadline=None)
@given(stream=STREAM, plan=PLAN, back=st.lists(st.integers(0, 12), min_size=1))
async def test_any_cut_and_any_replay(
    tmp_path_factory: pytest.TempPathFactory,
    once: str,
    stream: list[int],
    plan: list[tuple[int, str]],
    back: list[int],
) -> None:
    """Write in pieces of any size; at any time go back to any event, restarting or not."""
    path = tmp_path_factory.mktemp("once") / "x.db"
    rows, offsets = rows_of(stream)
    sink = await _opened(path, once)
    at = 0
    for turn, (size, then) in enumerate([*plan, (len(rows), "go on")]):
        piece = slice(at, at + size)
        at = min(at + size, len(rows))
        await _write(sink, rows[piece], offsets[piece])
        if then != "go on" and at < len(rows):
            event = min(back[turn % len(back)], offsets[at])
            at = offsets.index(next(o for o in offsets if o >= event))
            if then == "restart":
                await sink.__aexit__(None, None, None)
                sink = await _opened(path, once)
    await _write(sink, rows[at:], offsets[at:])
    await sink.__aexit__(None, None, None)
    assert Counter(ids(path)) == Counter(row["id"] for row in rows if row["n"] != "unfit")


WITH_FAULTS = st.lists(
    st.tuples(
        st.integers(1, 7),
        st.sampled_from(["well", "well", "fails", "its answer is lost"]),
        st.sampled_from(["go on", "go on", "try again", "restart", "replay"]),
    ),
    max_size=25,
)


@pytest.mark.parametrize("once", ["row", "position"])
@settings(max_examples=150, deadline=None)
@given(stream=STREAM, plan=WITH_FAULTS, back=st.lists(st.integers(0, 12), min_size=1))
async def test_any_write_that_fails_and_is_given_up(
    tmp_path_factory: pytest.TempPathFactory,
    once: str,
    stream: list[int],
    plan: list[tuple[int, str, str]],
    back: list[int],
) -> None:
    """Stored once is what some write has stored, and nothing else is taken for stored."""
    path = tmp_path_factory.mktemp("once") / "x.db"
    rows, offsets = rows_of(stream)
    sink = await _opened(path, once)
    at, floor, written = 0, 0, set()
    for turn, (size, how, then) in enumerate([*plan, (len(rows), "well", "go on")]):
        piece = slice(at, at + size)
        if rows[piece] and how != "well":
            with _faulty(how), pytest.raises(Retryable):
                await sink.write(rows_at(rows[piece], offsets[piece]))
        else:
            await _write(sink, rows[piece], offsets[piece])
        if how != "fails":
            written |= {row["id"] for row in rows[piece] if row["n"] != "unfit"}
        at = at if then == "try again" else min(at + size, len(rows))
        if then in ("restart", "replay") and rows:
            # A checkpoint never goes back: what is given up before it has its dead letter.
            event = max(floor, min(back[turn % len(back)], offsets[min(at, len(rows) - 1)]))
            at = offsets.index(next(o for o in offsets if o >= event))
            floor = offsets[at]
            if then == "restart":
                await sink.__aexit__(None, None, None)
                sink = await _opened(path, once)
    await sink.__aexit__(None, None, None)
    assert Counter(ids(path)) == Counter(written)


@contextmanager
def _faulty(how: str) -> Iterator[None]:
    """Transactions that the database undoes, or that it keeps without saying so."""
    whole = Store._transaction

    @contextmanager
    def faulty(self: Store) -> Iterator[None]:
        with whole(self):
            yield
            if how == "fails":
                raise Retryable("disk full")
        raise Retryable("no answer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_transaction", faulty)
        yield


async def test_rows_that_were_given_up_are_not_taken_for_stored_ones(tmp_path: Path) -> None:
    """A crash may have come before their dead letters were stored."""
    path = tmp_path / "x.db"
    settings: dict[str, Any] = {"once": "position", "columns": COLUMNS}
    async with sink_on(path, busy_timeout=Duration("10ms"), **settings) as sink:
        await sink.write(rows_at([{"id": "a"}], [1]))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for letters, offsets in (("bc", [2, 3]), ("d", [4])):
                with pytest.raises(Retryable):
                    await sink.write(rows_at([{"id": letter} for letter in letters], offsets))
            other.execute("ROLLBACK")
        await sink.write(rows_at([{"id": "e"}], [5]))
    for _ in range(2):
        async with sink_on(path, **settings) as sink:
            again = [{"id": letter} for letter in "abcde"]
            await sink.write(rows_at(again, [1, 2, 3, 4, 5]))
    assert ids(path) == ["a", "e", "b", "c", "d"]
    assert query(path, "SELECT first, last FROM streamd_gaps") == [(2, 4)]


async def test_a_database_that_cannot_be_opened_leaves_a_gap_too(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    settings: dict[str, Any] = {"once": "position", "columns": COLUMNS, "create_table": False}
    query(path, 'CREATE TABLE events (id, n, "partition", "offset")')
    async with sink_on(path, **settings) as sink:
        query(path, "ALTER TABLE events RENAME TO away")
        for offset in (1, 2):
            with pytest.raises(Misconfigured):
                await sink.write(rows_at([{"id": f"e{offset}"}], [offset]))
        query(path, "ALTER TABLE away RENAME TO events")
        await sink.write(rows_at([{"id": "e3"}], [3]))
        await sink.write(rows_at([{"id": "e1"}, {"id": "e2"}, {"id": "e3"}], [1, 2, 3]))
    assert ids(path) == ["e3", "e1", "e2"]


async def _opened(path: Path, once: str) -> SqliteSink:
    return await sink_on(path, once=once, columns=COLUMNS).__aenter__()


async def _write(sink: SqliteSink, rows: list[dict[str, Any]], offsets: list[int]) -> None:
    """A row that does not fit is named each time: a row that is not named counts as stored."""
    unfit = {row for row, value in enumerate(rows) if value["n"] == "unfit"}
    named: set[int] = set()
    try:
        if rows:
            await sink.write(rows_at(rows, offsets))
    except Rejected as error:
        named = set(error.rows)
    assert named == unfit
