"""Looks into the stores of dead letters, a page at a time. Changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from heapq import heappush, heappushpop
from pathlib import Path
from typing import Any, Literal, TypeVar

import anyio
import msgspec
from msgspec import Struct

from streamd.api import DeadLetterStore, KeepsDeadLetters, StoredLetter
from streamd.engine.plan import dead_letter_streams
from streamd.engine.spill import spill_path, spilled
from streamd.settings.construct import build, context_for
from streamd.settings.model import PipelineSpec, Settings, StageSpec

PAGE = 50
MOST_READ = 5000
"""Letters that one look at the newest reads at most: stores are read from the oldest on alone."""

_LONGEST_MESSAGE = 300
_LONGEST_LETTER = 256 * 1024
_SPILLED = "(spilled)"
_PATIENCE = 10.0

Order = Literal["newest", "oldest"]
T = TypeVar("T")


class NoSuchLetterError(Exception):
    """There is no such store, or no such letter in it any more."""


class Store(Struct, frozen=True):
    """A store that can be read: of a sink, or the files of what no sink has taken."""

    pipeline: str
    sink: str
    plugin: str = ""


class Summary(Struct, frozen=True):
    """A letter in a list. `before` is the place that it follows: with both it is found again."""

    place: str
    before: str
    id: str
    failed_at: str
    stage: str
    reason: str
    error: str
    attempts: str


class Page(Struct, frozen=True):
    """Some letters of a store, and how many were `read` for them. `more`: not all were."""

    letters: list[Summary]
    read: int
    more: bool


class Letter(Struct, frozen=True):
    """One letter whole, as indented JSON; `cut` if it is too long to be shown whole."""

    place: str
    fault: str
    text: str
    cut: bool


class Browser:
    """Reads for one person at a time: a store may be large, and on the disk of the pipelines."""

    def __init__(self) -> None:
        self._one = anyio.Lock()

    async def page(self, settings: Settings, store: Store, order: Order, after: str) -> Page:
        """The newest letters, latest first, or the next ones behind a place.

        Raises NoSuchLetterError, TimeoutError or StreamdError.
        """
        read = partial(_some, after=after) if order == "oldest" else _newest
        return await self._in_time(_open(settings, store), read)

    async def letter(self, settings: Settings, store: Store, before: str, place: str) -> Letter:
        """Raises NoSuchLetterError, TimeoutError or StreamdError."""
        return await self._in_time(
            _open(settings, store), partial(_find, before=before, place=place)
        )

    async def _in_time(
        self,
        opening: AbstractAsyncContextManager[DeadLetterStore],
        read: Callable[[DeadLetterStore], Awaitable[T]],
    ) -> T:
        # Closed outside of the deadline: a cancelled closing would leave something open.
        async with self._one, AsyncExitStack() as stack:
            with anyio.fail_after(_PATIENCE):
                return await read(await stack.enter_async_context(opening))


def stores(settings: Settings) -> Iterator[Store]:
    """The stores that the configuration has, and the files that there are."""
    for pipeline in settings.pipelines:
        for sink in _readable(pipeline):
            yield Store(pipeline.name, sink.id, sink.plugin)
        if spill_path(Path(settings.daemon.state_dir), pipeline.name).exists():
            yield Store(pipeline.name, _SPILLED)


def _readable(pipeline: PipelineSpec) -> Iterator[StageSpec]:
    """The sinks whose store has dead letters, and nothing else, and can be read."""
    streams = dead_letter_streams(pipeline)
    for sink in pipeline.sinks:
        if streams & set(sink.inputs) and issubclass(sink.cls, KeepsDeadLetters):
            yield sink


def _open(settings: Settings, wanted: Store) -> AbstractAsyncContextManager[DeadLetterStore]:
    state_dir = Path(settings.daemon.state_dir)
    for pipeline in settings.pipelines:
        if pipeline.name != wanted.pipeline:
            continue
        if wanted.sink == _SPILLED:
            return spilled(state_dir, pipeline.name)
        for sink in _readable(pipeline):
            if sink.id == wanted.sink:
                # One of its own: the sink that runs is busy writing.
                context = context_for(sink, pipeline, settings.catalog, state_dir)
                built: KeepsDeadLetters = build(sink, context)
                return built.dead_letters()
    raise NoSuchLetterError("there is no such store of dead letters")


@asynccontextmanager
async def _reading(
    store: DeadLetterStore, after: str
) -> AsyncIterator[AsyncIterator[StoredLetter]]:
    """Ends a reading that was not read to its end, and so what it holds open."""
    letters = store.read(after)
    try:
        yield letters
    finally:
        if (close := getattr(letters, "aclose", None)) is not None:
            await close()


async def _find(store: DeadLetterStore, before: str, place: str) -> Letter:
    async with _reading(store, before) as letters:
        # It follows at once, or some may have come in between.
        for _ in range(PAGE):
            letter = await anext(letters, None)
            if letter is not None and letter.place == place:
                return _whole(letter)
    raise NoSuchLetterError("this letter is gone")


async def _some(store: DeadLetterStore, after: str) -> Page:
    found: list[Summary] = []
    async with _reading(store, after) as letters:
        async for letter in letters:
            if len(found) == PAGE:
                return Page(found, PAGE, more=True)
            found.append(_summary(letter, after))
            after = letter.place
    return Page(found, len(found), more=False)


async def _newest(store: DeadLetterStore) -> Page:
    """Those that failed last: a topic has several ends, and names may be of another time."""
    last: list[tuple[str, int, Summary]] = []
    read, before, more = 0, "", False
    until = anyio.current_time() + _PATIENCE / 2
    async with _reading(store, "") as letters:
        async for letter in letters:
            if more := read == MOST_READ or anyio.current_time() > until:
                break
            summary = _summary(letter, before)
            one = (summary.failed_at, read, summary)
            heappush(last, one) if len(last) < PAGE else heappushpop(last, one)
            read, before = read + 1, letter.place
    return Page([summary for _, _, summary in sorted(last, reverse=True)], read, more)


def _summary(letter: StoredLetter, before: str) -> Summary:
    """Documents are what others may have written: any field may be anything, or missing."""
    document = letter.document
    error = document.get("error")
    message = error.get("message", "") if isinstance(error, dict) else ""
    return Summary(
        place=letter.place,
        before=before,
        id=str(document.get("dlq_id", "")),
        failed_at=str(document.get("failed_at", "")),
        stage=str(document.get("stage", "")),
        reason="unreadable" if letter.fault else str(document.get("reason", "")),
        error=(letter.fault or str(message))[:_LONGEST_MESSAGE],
        attempts=str(document.get("attempts", "")),
    )


def _whole(letter: StoredLetter) -> Letter:
    text = msgspec.json.format(msgspec.json.encode(letter.document, enc_hook=_plain), indent=2)
    shown = text.decode(errors="replace")
    return Letter(letter.place, letter.fault, shown[:_LONGEST_LETTER], len(shown) > _LONGEST_LETTER)


def _plain(value: Any) -> str:
    return repr(value)
