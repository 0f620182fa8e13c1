"""`discard` and `archive`: letters that leave the store."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec
from anyio import to_thread

from streamd import exits
from streamd.api import DeadLetterStore, StoredLetter
from streamd.cli.dlq.progress import Progress
from streamd.cli.dlq.selection import failed_at

Letters = Callable[[], AsyncIterator[StoredLetter]]

_AT_A_TIME = 500


async def discard(store: DeadLetterStore, letters: Letters, *, dry_run: bool) -> int:
    """Delete them."""
    gone = 0
    progress = Progress(None)
    async for some in chunks(letters(), _AT_A_TIME):
        gone += len(some) if dry_run else await store.remove(some)
        progress.at(gone)
    progress.end()
    print(f"{gone} letters {'would be ' if dry_run else ''}discarded")
    return exits.OK


async def archive(store: DeadLetterStore, letters: Letters, folder: Path, *, dry_run: bool) -> int:
    """Write them to `folder`/<year>/<month>/<day>/<id>.json, then delete them."""
    gone = 0
    progress = Progress(None)
    async for some in chunks(letters(), _AT_A_TIME):
        if not dry_run:
            await to_thread.run_sync(_keep, folder, some)
        gone += len(some) if dry_run else await store.remove(some)
        progress.at(gone)
    progress.end()
    print(f"{gone} letters {'would be ' if dry_run else ''}archived in {folder}")
    return exits.OK


async def chunks(
    letters: AsyncIterator[StoredLetter], most: int
) -> AsyncIterator[list[StoredLetter]]:
    """So many at a time."""
    some: list[StoredLetter] = []
    async for letter in letters:
        some.append(letter)
        if len(some) >= most:
            yield some
            some = []
    if some:
        yield some


def _keep(folder: Path, letters: Sequence[StoredLetter]) -> None:
    """Durable when it returns. Raises OSError."""
    folders = {folder}
    for letter in letters:
        failed = failed_at(letter.document)
        day = "undated" if failed is None else failed.strftime("%Y/%m/%d")
        place = folder / day
        place.mkdir(parents=True, exist_ok=True)
        folders.update(p for p in (place, *place.parents) if p.is_relative_to(folder))
        content = letter.document or {"place": letter.place, "unreadable": letter.fault}
        _write_beside(place, letter, msgspec.json.encode(content))
    for one in folders:
        _sync(one)


def _write_beside(folder: Path, letter: StoredLetter, content: bytes) -> None:
    """Never over another letter; the same one again is not kept twice."""
    for name in _names(letter):
        path = folder / name
        try:
            with path.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            if path.read_bytes() != content:
                continue
        return


def _names(letter: StoredLetter) -> Iterator[str]:
    identity = letter.document.get("dlq_id") or quote(letter.place, safe="")[-160:]
    name = quote(str(identity), safe="%~").replace("/", "%2F")[:200]
    yield f"{name}.json"
    number = 1
    while True:
        number += 1
        yield f"{name}.{number}.json"


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
