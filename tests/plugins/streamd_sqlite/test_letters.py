"""The SQLite sink's table as a store of dead letters."""

from pathlib import Path
from typing import Any

import pytest

from streamd.api import Misconfigured, Sink
from streamd.testing.contracts.dead_letters import (
    DeadLettersContract,
    DeadLettersSubject,
    dead_letters_context,
    document,
    letters_of,
)
from streamd_sqlite.config import SqliteConfig
from streamd_sqlite.sink import SqliteSink


class SqliteSubject(DeadLettersSubject):
    overwrites = False

    def __init__(self, path: Path, **config: Any) -> None:
        self.path = path
        self.config = config

    def make(self) -> Sink:
        config = SqliteConfig(path=str(self.path), table="dead", **self.config)
        return SqliteSink(config, dead_letters_context())


class TestByRow(DeadLettersContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> SqliteSubject:
        return SqliteSubject(tmp_path / "d.db")


class TestByKey(DeadLettersContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> SqliteSubject:
        columns = {"id": "dlq_id", "whole": "@json"}
        subject = SqliteSubject(tmp_path / "d.db", once="key", key=("id",), columns=columns)
        subject.overwrites, subject.tells_apart = True, False
        return subject


async def test_without_the_whole_document_nothing_can_be_read_back(tmp_path: Path) -> None:
    sink = SqliteSubject(tmp_path / "d.db", columns={"id": "dlq_id"}).make()
    assert isinstance(sink, SqliteSink)
    with pytest.raises(Misconfigured, match="@json"):
        async with sink.dead_letters():
            pass


async def test_a_row_id_that_went_to_another_letter_is_not_mistaken(tmp_path: Path) -> None:
    sink = SqliteSubject(tmp_path / "d.db").make()
    assert isinstance(sink, SqliteSink)
    async with sink:
        await sink.write(letters_of([document(1)]))
        async with sink.dead_letters() as store:
            letters = [letter async for letter in store.read()]
            assert await store.remove(letters) == 1
            await sink.write(letters_of([document(2)]))
            assert [letter.place async for letter in store.read()] == [letters[0].place]
            assert await store.remove(letters) == 0
        assert await sink.backlog() == 1


async def test_a_letter_that_failed_again_is_another_row(tmp_path: Path) -> None:
    """Made again after a crash it is the same row; after a replay it counts on."""
    sink = SqliteSubject(tmp_path / "d.db").make()
    assert isinstance(sink, SqliteSink)
    async with sink:
        await sink.write(letters_of([document(1, attempts=1)]))
        await sink.write(letters_of([document(1, attempts=3)]))
        assert await sink.backlog() == 1
        await sink.write(letters_of([document(1, attempts=4, replays=1)]))
        assert await sink.backlog() == 2


def test_only_by_position_does_order_matter(tmp_path: Path) -> None:
    from streamd.testing.contexts import stage_context

    by_position = SqliteConfig(path="x.db", once="position")
    assert SqliteSink(by_position, stage_context("sink")).needs_order
    assert not SqliteSink(SqliteConfig(path="x.db"), stage_context("sink")).needs_order
