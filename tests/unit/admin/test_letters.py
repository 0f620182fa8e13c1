"""Looking into a store of dead letters, a page at a time."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import msgspec
import pytest

from streamd.admin.letters import (
    MOST_READ,
    PAGE,
    Browser,
    NoSuchLetterError,
    Page,
    Store,
    stores,
)
from streamd.api import StageConfig, StoredLetter
from streamd.engine.spill import Spill
from streamd.settings.model import DaemonOptions, PipelineSpec, Settings, StageSpec
from streamd.testing.harness import pipeline, stage
from streamd.testing.virtual_time import VirtualTimeLoop

STORE = Store("test", "dead")


class Kept:
    """A sink whose store a test fills; its letters are read in the order of their places."""

    letters: ClassVar[Sequence[StoredLetter]] = ()
    stuck = False
    pause = 0.0
    open = 0

    def __init__(self, _config: StageConfig, _context: Any) -> None: ...

    @asynccontextmanager
    async def dead_letters(self) -> AsyncIterator["Kept"]:
        type(self).open += 1
        try:
            yield self
        finally:
            await anyio.lowlevel.checkpoint()  # not in a cancelled scope
            type(self).open -= 1

    async def read(self, after: str = "") -> AsyncIterator[StoredLetter]:
        if self.stuck:
            await anyio.sleep_forever()
        for letter in self.letters:
            if self.pause:
                await anyio.sleep(self.pause)
            if letter.place > after:
                yield letter

    async def remove(self, letters: Sequence[StoredLetter]) -> int:
        raise AssertionError("a look takes nothing out")


class Plain:
    """A sink that cannot be read back."""

    def __init__(self, _config: StageConfig, _context: Any) -> None: ...


def sink(name: str, cls: type, stream: str = "dead_letters") -> StageSpec:
    spec = stage("sink", name, lambda _context: None, inputs=(stream,))
    return msgspec.structs.replace(spec, cls=cls)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    spec: PipelineSpec = pipeline(
        sink("main", Kept, "main"), sink("plain", Plain), sink("dead", Kept)
    )
    return Settings(
        path=tmp_path / "streamd.toml",
        digest="",
        daemon=DaemonOptions(state_dir=str(tmp_path)),
        pipelines=(spec,),
        catalog=SimpleNamespace(roles=list, extensions=lambda role: {}),
    )


def fill(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    letters = [
        StoredLetter(f"{at:06}", "1", {"dlq_id": f"dlq_{at}", "stage": "check", "attempts": 1})
        for at in range(1, count + 1)
    ]
    monkeypatch.setattr(Kept, "letters", letters)


def ids(page: Page) -> list[str]:
    return [letter.id for letter in page.letters]


async def test_the_newest_come_first(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch, PAGE + 7)
    page = await Browser().page(settings, STORE, "newest", "")
    assert ids(page) == [f"dlq_{at}" for at in range(PAGE + 7, 7, -1)]
    assert (page.read, page.more) == (PAGE + 7, False)


async def test_the_newest_are_those_that_failed_last(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those that stand last: the partitions of a topic are read one after the other."""
    letters = [
        StoredLetter(
            f"{partition}:{at:03}", "1", {"dlq_id": f"{at}-{partition}", "failed_at": when}
        )
        for partition in range(2)
        for at in range(PAGE)
        for when in [f"2025-11-19T10:{at:02}:00Z"]
    ]
    monkeypatch.setattr(Kept, "letters", letters)
    page = await Browser().page(settings, STORE, "newest", "")
    newest = range(PAGE - 1, PAGE // 2 - 1, -1)
    assert ids(page) == [f"{at}-{partition}" for at in newest for partition in (1, 0)]
    first = page.letters[0]
    found = await Browser().letter(settings, STORE, first.before, first.place)
    assert first.id in found.text


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": VirtualTimeLoop})])
async def test_a_store_that_is_slow_is_read_as_far_as_there_is_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(monkeypatch, PAGE)
    monkeypatch.setattr(Kept, "pause", 1.0)
    page = await Browser().page(settings, STORE, "newest", "")
    assert page.more
    assert 0 < len(page.letters) == page.read < PAGE


async def test_a_store_too_large_is_not_read_to_its_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(monkeypatch, MOST_READ)
    assert not (await Browser().page(settings, STORE, "newest", "")).more
    fill(monkeypatch, MOST_READ + 1)
    page = await Browser().page(settings, STORE, "newest", "")
    assert (page.read, page.more, ids(page)[0]) == (MOST_READ, True, f"dlq_{MOST_READ}")


@pytest.mark.parametrize("count", [0, 1, PAGE, PAGE + 1, 3 * PAGE])
async def test_page_after_page_shows_each_letter_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    fill(monkeypatch, count)
    seen: list[str] = []
    after, more = "", True
    while more:
        page = await Browser().page(settings, STORE, "oldest", after)
        seen += ids(page)
        more = page.more
        assert page.letters or not more
        after = page.letters[-1].place if page.letters else after
    assert seen == [f"dlq_{at}" for at in range(1, count + 1)]


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_a_letter_of_a_list_is_found_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, order: Any
) -> None:
    fill(monkeypatch, 9)
    browser = Browser()
    for one in (await browser.page(settings, STORE, order, "")).letters:
        letter = await browser.letter(settings, STORE, one.before, one.place)
        assert msgspec.json.decode(letter.text)["dlq_id"] == one.id
    assert Kept.open == 0


async def test_a_letter_that_is_gone_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(monkeypatch, 2 * PAGE)
    with pytest.raises(NoSuchLetterError, match="gone"):
        await Browser().letter(settings, STORE, "000001", "000001")
    with pytest.raises(NoSuchLetterError, match="gone"):
        await Browser().letter(settings, STORE, "", f"{2 * PAGE:06}")


async def test_letters_may_be_anything(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    odd: list[dict[str, Any]] = [
        {"error": "not a table", "stage": None, "attempts": [1], "dlq_id": 7},
        {"error": {"message": {"deep": True}}, "raw": b"\x00", "of": object},
        {"long": "x" * 400_000},
    ]
    letters = [StoredLetter(str(at), "1", document) for at, document in enumerate(odd)]
    monkeypatch.setattr(Kept, "letters", [*letters, StoredLetter("9", "1", {}, "no JSON")])
    browser = Browser()
    page = await browser.page(settings, STORE, "oldest", "")
    assert [one.reason for one in page.letters] == ["", "", "", "unreadable"]
    assert page.letters[3].error == "no JSON"
    shown = [await browser.letter(settings, STORE, one.before, one.place) for one in page.letters]
    assert [letter.cut for letter in shown] == [False, False, True, False]
    assert len(shown[2].text) < 300_000


async def test_a_store_that_does_not_answer_is_given_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kept, "stuck", True)
    monkeypatch.setattr("streamd.admin.letters._PATIENCE", 0.01)
    with pytest.raises(TimeoutError):
        await Browser().page(settings, STORE, "newest", "")
    assert Kept.open == 0


@pytest.mark.parametrize(
    "store", [Store("test", "main"), Store("no", "dead"), Store("test", "plain"), Store("", "")]
)
async def test_there_is_no_such_store(settings: Settings, store: Store) -> None:
    with pytest.raises(NoSuchLetterError, match="no such store"):
        await Browser().page(settings, store, "newest", "")


async def test_spilled_letters_are_a_store_too(settings: Settings, tmp_path: Path) -> None:
    assert list(stores(settings)) == [Store("test", "dead", "dead")]
    await Spill(tmp_path, "test").append([{"dlq_id": "dlq_a"}])
    spilled = list(stores(settings))[-1]
    assert ids(await Browser().page(settings, spilled, "newest", "")) == ["dlq_a"]
