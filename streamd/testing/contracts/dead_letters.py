"""What every sink does that opens its store of dead letters.

class TestMyStore(DeadLettersContract):
    @pytest.fixture
    def subject(self) -> MySubject: ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pytest

from streamd.api import DEAD_LETTERS, Batch, KeepsDeadLetters, Sink, StageContext, StoredLetter
from streamd.testing.batches import batch_of
from streamd.testing.codecs import AskingJson
from streamd.testing.contexts import stage_context

COUNT = 7


class DeadLettersSubject(ABC):
    """How to build the sink, always on the same store.

    - `overwrites`: a letter that is written again stands in place of the one before.
    - `tells_apart`: different events of one id and time have a letter each.
    """

    overwrites = True
    tells_apart = True

    @abstractmethod
    def make(self) -> Sink:
        """A new sink; its context is one of `dead_letters_context()`."""


def dead_letters_context(**options: Any) -> StageContext:
    """The context of a sink that reads dead letters, with a codec that has to be prepared."""
    return stage_context("sink", codec=AskingJson(), inputs=(DEAD_LETTERS,), **options)


def document(number: int, **more: Any) -> dict[str, Any]:
    """A document such as the engine writes."""
    return {
        "dlq_id": f"dlq_1700000000000_e{number}",
        "original_message": {"id": f"e{number}", "text": "漢字 \n \u0000"},
        "error": {"type": "ValueError", "message": "no", "traceback": ""},
        "metadata": {"partition": 0, "offset": number},
        "stage": "out",
        "reason": "bad",
        "topic": "events",
        "failed_at": "2025-11-19T10:30:00Z",
        "replays": 0,
        **more,
    }


def letters_of(documents: Sequence[dict[str, Any]]) -> Batch:
    """A batch of documents, as the engine hands it to a sink."""
    return batch_of(documents, first=documents[0]["metadata"]["offset"])


class DeadLettersContract:
    """Inherit it and give the fixture `subject`."""

    @pytest.fixture
    def subject(self) -> DeadLettersSubject:
        raise NotImplementedError("override the fixture `subject`")

    @pytest.fixture
    async def written(self, subject: DeadLettersSubject) -> list[dict[str, Any]]:
        documents = [document(number) for number in range(COUNT)]
        await _write(subject, documents)
        return documents

    async def test_every_letter_is_read_as_it_was_written(
        self, subject: DeadLettersSubject, written: list[dict[str, Any]]
    ) -> None:
        letters = await _read(subject)
        assert _sorted(letter.document for letter in letters) == written
        assert {letter.fault for letter in letters} == {""}
        assert len({letter.place for letter in letters}) == COUNT

    @pytest.mark.usefixtures("written")
    async def test_reading_goes_on_behind_a_place(self, subject: DeadLettersSubject) -> None:
        letters = await _read(subject)
        for at, letter in enumerate(letters):
            rest = await _read(subject, letter.place)
            assert [one.place for one in rest] == [one.place for one in letters[at + 1 :]]

    @pytest.mark.usefixtures("written")
    async def test_what_is_removed_is_gone_and_the_rest_stays(
        self, subject: DeadLettersSubject
    ) -> None:
        letters = await _read(subject)
        async with _store(subject) as store:
            assert await store.remove(letters[1:3]) == 2
            assert await store.remove([letters[5]]) == 1
            left = [letter async for letter in store.read()]
        kept = [letters[0].document, *(letters[at].document for at in (3, 4, 6))]
        assert _sorted(letter.document for letter in left) == _sorted(kept)
        assert _sorted(letter.document for letter in await _read(subject)) == _sorted(kept)

    async def test_letters_can_be_removed_while_they_are_read(
        self, subject: DeadLettersSubject, written: list[dict[str, Any]]
    ) -> None:
        seen = []
        async with _store(subject) as store:
            async for letter in store.read():
                seen.append(letter.document)
                await store.remove([letter])
        assert _sorted(seen) == written
        assert await _read(subject) == []

    @pytest.mark.usefixtures("written")
    async def test_what_comes_while_others_are_removed_stays(
        self, subject: DeadLettersSubject
    ) -> None:
        async with _store(subject) as store:
            letters = [letter async for letter in store.read()]
            await _write(subject, [document(100)])
            await store.remove(letters)
        assert [letter.document for letter in await _read(subject)] == [document(100)]

    @pytest.mark.parametrize("together", [False, True])
    async def test_different_events_of_one_id_have_a_letter_each(
        self, subject: DeadLettersSubject, together: bool
    ) -> None:
        if not subject.tells_apart:
            pytest.skip("its settings say that the id alone counts")
        both = [document(1), document(1, metadata={"partition": 0, "offset": 7})]
        writes = [both] if together else [[one] for one in both]
        for documents in [*writes, *(writes if subject.overwrites else ())]:
            await _write(subject, documents)
        letters = await _read(subject)
        offsets = sorted(letter.document["metadata"]["offset"] for letter in letters)
        assert offsets == [1, 7], "a replay overwrites its own, and no other"

    @pytest.mark.usefixtures("written")
    async def test_a_letter_that_was_written_anew_stays(self, subject: DeadLettersSubject) -> None:
        letters = await _read(subject)
        again = document(3, replays=1)
        await _write(subject, [again])
        async with _store(subject) as store:
            gone = await store.remove(letters)
        assert gone == (COUNT - 1 if subject.overwrites else COUNT)
        assert [letter.document for letter in await _read(subject)] == [again]

    async def test_an_empty_store_is_read_and_cleared(self, subject: DeadLettersSubject) -> None:
        async with subject.make():
            pass
        assert await _read(subject) == []


def _store(subject: DeadLettersSubject) -> Any:
    sink = subject.make()
    assert isinstance(sink, KeepsDeadLetters)
    return sink.dead_letters()


async def _read(subject: DeadLettersSubject, after: str = "") -> list[StoredLetter]:
    async with _store(subject) as store:
        return [letter async for letter in store.read(after)]


async def _write(subject: DeadLettersSubject, documents: Sequence[dict[str, Any]]) -> None:
    async with subject.make() as sink:
        await sink.write(letters_of(documents))


def _sorted(documents: Any) -> list[dict[str, Any]]:
    return sorted(documents, key=lambda one: one["metadata"]["offset"])
