"""The store on disk: what it has said it stored is there when it is opened again."""

import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest

from streamd.api import Retryable
from streamd.engine.ledger import Cut
from streamd.engine.store import Checkpoint, SqliteStore
from streamd.testing.harness import pipeline, stage
from tests.unit.engine.doubles import life_of, numbers, sink, source, topic_of
from tests.unit.engine.group import SumWindow


def cut(positions: dict[str, int], *changes: tuple[str, bytes, bytes | None]) -> Cut:
    """Positions of the source `in`, and changes of the step `w` (partition, key, value)."""
    return Cut({"in": positions}, [("w", "k1", *change) for change in changes])


async def test_everything_is_there_after_it_is_opened_again(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "deep" / "store.db") as store:
        first = store.id
        await store.save(
            "p", 1, cut({"e:0": 5, "e:1": 6}, ("e:0", b"a", b"1"), ("e:1", b"b", b"2"))
        )
        await store.save("p", 2, cut({"e:0": 9}, ("e:0", b"a", None), ("e:0", b"c", b"3")))
    async with SqliteStore(tmp_path / "deep" / "store.db") as store:
        assert store.id == first
        assert await store.last("p") == Checkpoint(2, {"in": {"e:0": 9, "e:1": 6}})
        assert await store.state("p", "w", "k1", ["e:0"]) == [("e:0", b"c", b"3")]
        assert await store.state("p", "w", "k1", ["e:1"]) == [("e:1", b"b", b"2")]
        assert await store.last("other") == Checkpoint(0, {})


async def test_the_last_change_of_a_key_counts(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "store.db") as store:
        changes: list[Any] = [
            ("e:0", b"a", b"1"),
            ("e:0", b"a", None),
            ("e:0", b"b", None),
            ("e:0", b"b", b"2"),
        ]
        await store.save("p", 1, cut({}, *changes))
        assert await store.state("p", "w", "k1", ["e:0"]) == [("e:0", b"b", b"2")]


async def test_a_save_that_fails_leaves_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with SqliteStore(path) as store:
        await store.save("p", 1, cut({"e:0": 5}, ("e:0", b"a", b"1")))
        other = sqlite3.connect(path)
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON state"
            " BEGIN SELECT raise(ABORT, 'no room for state'); END"
        )
        other.commit()
        with pytest.raises((Retryable, sqlite3.Error)):
            await store.save("p", 2, cut({"e:0": 9}, ("e:0", b"b", b"2")))
        other.execute("DROP TRIGGER full")
        other.commit()
        other.close()
        assert await store.last("p") == Checkpoint(1, {"in": {"e:0": 5}})
        await store.save("p", 2, cut({"e:0": 9}, ("e:0", b"b", b"2")))
        assert (await store.last("p")).epoch == 2


async def test_a_store_that_is_locked_asks_for_another_try(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with SqliteStore(path) as store:
        store._db.execute("PRAGMA busy_timeout = 1")
        other = sqlite3.connect(path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Retryable):
            await store.save("p", 1, cut({"e:0": 5}))
        other.rollback()
        other.close()
        await store.save("p", 1, cut({"e:0": 5}))
        assert (await store.last("p")).positions == {"in": {"e:0": 5}}


async def test_dropping_forgets_the_partition_in_this_pipeline_alone(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "store.db") as store:
        for name in ("p", "q"):
            await store.save(
                name, 1, cut({"e:0": 5, "e:1": 6}, ("e:0", b"a", b"1"), ("e:1", b"b", b"2"))
            )
        await store.drop("p", ["e:0"])
        assert await store.last("p") == Checkpoint(1, {"in": {"e:1": 6}})
        assert await store.state("p", "w", "k1", ["e:0", "e:1"]) == [("e:1", b"b", b"2")]
        assert await store.last("q") == Checkpoint(1, {"in": {"e:0": 5, "e:1": 6}})
        assert len(await store.state("q", "w", "k1", ["e:0", "e:1"])) == 2


async def test_state_under_another_key_is_not_given_out(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "store.db") as store:
        await store.save("p", 1, cut({}, ("e:0", b"a", b"1")))
        assert await store.state("p", "w", "k2", ["e:0"]) == []
        assert await store.state_keys("p", "w") == {"k1"}
        await store.drop_state("p", "w", "k2")
        assert await store.state_keys("p", "w") == set()


async def test_a_cancelled_save_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "store.db") as store:
        for epoch in range(1, 20):
            with anyio.move_on_after(0):
                await store.save("p", epoch, cut({"e:0": epoch}, ("e:0", b"a", b"%d" % epoch)))
            last = await store.last("p")
            state = await store.state("p", "w", "k1", ["e:0"])
            expected = [("e:0", b"a", b"%d" % last.epoch)] if last.epoch else []
            assert state == expected
            assert last.positions.get("in", {}).get("e:0", 0) == last.epoch


async def test_a_pipeline_goes_on_where_the_disk_says(tmp_path: Path) -> None:
    """Two lives on one file: the window that the first left half full is whole in the second."""
    topic = topic_of(15)
    rows: list[Any] = []
    windows: list[Any] = []

    def spec() -> Any:
        return pipeline(
            source(topic),
            stage("window", "w", SumWindow),
            sink(rows),
            sink(windows, "windows", inputs=("w",)),
        )

    async with SqliteStore(tmp_path / "store.db") as store:
        await life_of(spec(), tmp_path, store).run()
    for number in range(15, 30):
        topic.add(b'{"n": %d}' % number)
    async with SqliteStore(tmp_path / "store.db") as store:
        await life_of(spec(), tmp_path, store).run()
    assert numbers(rows) == list(range(30)), "nothing twice after a clean end"
    assert [row["total"] for row in windows] == [
        sum(range(first, first + 10)) for first in (0, 10, 20)
    ]
