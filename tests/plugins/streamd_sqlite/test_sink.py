"""The SQLite sink: contract, columns, errors."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from streamd.api import ConfigError, Duration, Misconfigured, Rejected, Retryable
from streamd.testing import RecordedMetrics
from streamd.testing.batches import batch_of, sample_event
from streamd.testing.contracts.sink import SinkContract, SinkSubject
from streamd_columns import ColumnDef
from streamd_sqlite.sink import SqliteSink
from streamd_sqlite.store import Store
from tests.plugins.streamd_sqlite.helpers import query, sink_on


class Subject(SinkSubject):
    def __init__(self, path: Path, once: str) -> None:
        self.path = path
        self.replay = "appends" if once == "off" else "overwrites"
        self.settings: dict[str, Any] = {"once": once}
        if once == "key":
            self.settings["key"] = ("id",)

    def make(self) -> SqliteSink:
        return sink_on(self.path, **self.settings)

    async def stored(self) -> list[Any]:
        return [
            msgspec.json.decode(text) for (text,) in query(self.path, "SELECT event FROM events")
        ]

    def poison(self, number: int) -> Any:
        return {**sample_event(number), "id": 2**70}


class TestContract(SinkContract):
    @pytest.fixture(params=["row", "position", "key"])
    def subject(self, tmp_path: Path, request: pytest.FixtureRequest) -> SinkSubject:
        return Subject(tmp_path / "sub" / "events.db", request.param)


class TestContractWithoutOnce(SinkContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> SinkSubject:
        return Subject(tmp_path / "events.db", "off")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


async def test_the_default_table(path: Path) -> None:
    sink = sink_on(path)
    assert await sink.healthcheck() == f"{path} will be made"
    async with sink:
        await sink.write(batch_of([sample_event(1), {"other": True}], first=5))
    rows = query(path, 'SELECT id, timestamp, event, "partition", "offset" FROM events')
    assert rows == [
        (
            "evt_1",
            "2025-11-19T10:30:00Z",
            msgspec.json.encode(sample_event(1)).decode(),
            "events:0",
            5,
        ),
        (None, None, '{"other":true}', "events:0", 6),
    ]
    assert await sink.healthcheck() == f"{path}, table events, 5 columns"
    assert (await sink_on(path, table="more").healthcheck()).endswith("table more will be made")


async def test_is_durable_and_readable_meanwhile(path: Path) -> None:
    async with sink_on(path) as sink:
        await sink.write(batch_of([sample_event(1)]))
        assert query(path, "PRAGMA journal_mode") == [("wal",)]
        assert query(path, "SELECT count(*) FROM events") == [(1,)]
        assert sink._store is not None
        assert sink._store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


async def test_own_columns(path: Path) -> None:
    columns: dict[str, str | ColumnDef] = {
        "who": "payload.user",
        "odd name": ColumnDef("payload.n", "INTEGER"),
        "at": "@timestamp",
        "key": "@key",
        "status": "@status",
    }
    async with sink_on(path, columns=columns, table="my table") as sink:
        events = [{"payload": {"user": "a", "n": True}}, {"payload": {"user": 1.5, "n": None}}]
        await sink.write(batch_of(events, keys=[b"k", None]))
    rows = query(path, 'SELECT who, "odd name", at, "key", status FROM "my table"')
    assert rows == [
        ("a", 1, 1_763_548_200_000, b"k", "valid"),
        (1.5, None, 1_763_548_201_000, None, "valid"),
    ]


async def test_rows_that_do_not_fit_are_named(path: Path) -> None:
    columns: dict[str, str | ColumnDef] = {
        "id": ColumnDef("id", "TEXT NOT NULL"),
        "n": ColumnDef("n", "INTEGER CHECK (n < 100)"),
    }
    events: list[Any] = [
        {"id": "a", "n": 1},
        {"id": None, "n": "7"},
        {"id": "b", "n": 100},
        {"id": "c", "n": 2**63},
        {"id": "d", "n": None},
    ]
    async with sink_on(path, columns=columns) as sink:
        with pytest.raises(Rejected) as caught:
            await sink.write(batch_of(events))
    assert query(path, "SELECT id, n FROM events") == [("a", 1), ("d", None)]
    rows = caught.value.rows
    assert sorted(rows) == [1, 2, 3]
    assert "column id (TEXT): the column takes no null; column n (INTEGER)" in rows[1].message
    assert "CHECK constraint" in rows[2].message
    assert "more than 64 bits" in rows[3].message


async def test_missing_fields_can_be_rejected(path: Path) -> None:
    async with sink_on(path, missing="reject") as sink:
        with pytest.raises(Rejected, match="no such field"):
            await sink.write(batch_of([{"id": "a"}]))


async def test_a_later_event_replaces_the_one_with_its_key(path: Path) -> None:
    columns: dict[str, str | ColumnDef] = {"id": "id", "n": "n"}
    async with sink_on(path, columns=columns, once="key", key=("id",)) as sink:
        await sink.write(batch_of([{"id": "a", "n": 1}, {"id": "b", "n": 2}]))
        await sink.write(batch_of([{"id": "a", "n": 3}], first=2))
    assert query(path, "SELECT id, n FROM events ORDER BY id") == [("a", 3), ("b", 2)]


async def test_left_out_rows_are_counted(path: Path) -> None:
    for once in ("row", "position"):
        metrics = RecordedMetrics()
        async with sink_on(path, table=once, once=once, metrics=metrics) as sink:
            await sink.write(batch_of([sample_event(1), sample_event(2)]))
            await sink.write(batch_of([sample_event(1), sample_event(2), sample_event(3)]))
        assert metrics.value("rows_already_stored_total") == 2


async def test_two_sinks_share_a_database(path: Path) -> None:
    async with (
        sink_on(path, once="position", table="a") as one,
        sink_on(path, once="position", table="b") as two,
        anyio.create_task_group() as group,
    ):
        for sink in (one, two):
            group.start_soon(_write_three, sink)
    assert query(path, "SELECT count(*) FROM a") == query(path, "SELECT count(*) FROM b") == [(3,)]


async def _write_three(sink: SqliteSink) -> None:
    for first in range(3):
        await sink.write(batch_of([sample_event(first)], first=first))


async def test_a_locked_database_is_retried(path: Path) -> None:
    async with sink_on(path, busy_timeout=Duration("50ms")) as sink:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Retryable, match="locked"):
                await sink.write(batch_of([sample_event(1)]))
        await sink.write(batch_of([sample_event(1)]))
    assert query(path, "SELECT count(*) FROM events") == [(1,)]


async def test_a_full_disk_is_retried(path: Path) -> None:
    async with sink_on(path) as sink:
        await sink.write(batch_of([sample_event(1)]))
        assert sink._store is not None
        sink._store._db.execute("PRAGMA max_page_count = 8")
        with pytest.raises(Retryable, match="full"):
            await sink.write(batch_of([sample_event(2, "x" * 100_000)]))
        await sink.write(batch_of([sample_event(2, "x" * 100_000)]))
    assert query(path, "SELECT count(*) FROM events") == [(2,)]


async def test_a_file_that_is_deleted_is_made_again(path: Path) -> None:
    async with sink_on(path) as sink:
        await sink.write(batch_of([sample_event(1)]))
        for name in ("events.db", "events.db-wal", "events.db-shm"):
            (path.parent / name).unlink(missing_ok=True)
        with pytest.raises(Retryable, match="deleted or replaced"):
            await sink.write(batch_of([sample_event(2)]))
        await sink.write(batch_of([sample_event(2)]))
    assert query(path, "SELECT id FROM events") == [("evt_2",)]


async def test_a_failed_commit_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and positions are in one transaction: both are there, or neither is."""

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    batch = batch_of([sample_event(1), sample_event(2)])
    async with sink_on(path, once="position") as sink:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "_note_holes", fail)
            with pytest.raises(Misconfigured, match="disk I/O"):
                await sink.write(batch)
        assert query(path, "SELECT count(*) FROM events") == [(0,)]
        assert query(path, "SELECT count(*) FROM streamd_positions") == [(0,)]
        await sink.write(batch)
    assert query(path, "SELECT count(*) FROM events") == [(2,)]


async def test_what_a_person_has_to_mend(path: Path, tmp_path: Path) -> None:
    query(path, "CREATE TABLE mine (id TEXT)")
    cases: list[tuple[str, dict[str, Any]]] = [
        ("no table events", {"create_table": False}),
        ("no column streamd_row", {"table": "mine", "columns": {"id": "id"}}),
        ("no column n; it has id", {"table": "mine", "columns": {"n": "n"}, "once": "off"}),
        ("ON CONFLICT", {"table": "mine", "columns": {"id": "id"}, "once": "key", "key": ("id",)}),
        ("syntax error", {"columns": {"id": ColumnDef("id", "TEXT, ,")}}),
    ]
    for message, settings in cases:
        with pytest.raises(Misconfigured, match=message):
            async with sink_on(path, **settings) as sink:
                await sink.write(batch_of([{"id": "a"}]))
    with pytest.raises(Misconfigured, match="unable to open"):
        async with sink_on(tmp_path / "none" / "x.db", create_table=False):
            pass
    (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one" * 20)
    with pytest.raises(Misconfigured, match="not a database"):
        await sink_on(tmp_path / "text.db").healthcheck()


async def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    query(tmp_path / "file", "CREATE TABLE t (a)")
    with pytest.raises(Misconfigured, match="file"):
        async with sink_on(tmp_path / "file" / "sub" / "x.db"):
            pass


async def test_an_existing_table(path: Path) -> None:
    query(path, "CREATE TABLE events (id TEXT PRIMARY KEY, more TEXT DEFAULT 'x')")
    async with sink_on(path, columns={"id": "id"}, once="key", key=("id",)) as sink:
        await sink.write(batch_of([{"id": "a"}, {"id": "a"}]))
    assert query(path, "SELECT * FROM events") == [("a", "x")]


@pytest.mark.parametrize(
    ("settings", "inputs", "where"),
    [
        ({"once": "key"}, ("main",), "key"),
        ({"key": ("id",)}, ("main",), "key"),
        ({"once": "key", "key": ("nope",)}, ("main",), "key"),
        ({"once": "position"}, ("dead_letters",), "once"),
        ({"once": "position"}, ("main", "other"), "once"),
        ({"columns": {"a": "@x"}}, ("main",), "columns.a"),
    ],
)
def test_settings_that_make_no_sense(
    path: Path, settings: dict[str, Any], inputs: tuple[str, ...], where: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        sink_on(path, inputs=inputs, **settings)
    assert caught.value.path == where
    assert not path.exists()
