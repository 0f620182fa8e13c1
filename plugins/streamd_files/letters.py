"""The file sink's files as a store of dead letters."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from anyio import from_thread, to_thread

from streamd.api import (
    Codec,
    DeadLetterStore,
    LetterFiles,
    Misconfigured,
    StoredLetter,
    decode_letter,
    preparing,
    read_letter,
)
from streamd_files.durable import sync_folders

Find = Callable[[], Iterable[Path]]
T = TypeVar("T")

_AT_A_TIME = 200
_ASIDE = ".gone"


@asynccontextmanager
async def open_lines(find: Find, codec: Codec) -> AsyncIterator[DeadLetterStore]:
    """Files of lines. Raises Misconfigured if they cannot be listed."""

    def decode(line: bytes) -> dict[str, Any]:
        return _decode(codec, line.rstrip(b"\n"))

    async with LetterFiles(await _listed(find), decode) as store:
        yield store


@asynccontextmanager
async def open_files(find: Find, codec: Codec) -> AsyncIterator[DeadLetterStore]:
    """Files of one letter each. Raises Misconfigured if they cannot be listed."""
    yield EventFiles(await _listed(find), codec)


class EventFiles:
    """One letter per file. A place is a path."""

    def __init__(self, paths: Sequence[Path], codec: Codec) -> None:
        self._paths = paths
        self._codec = codec
        self._cleared: set[Path] = set()

    async def read(self, after: str = "") -> AsyncIterator[StoredLetter]:
        """See `DeadLetterStore`."""
        paths = [path for path in self._paths if str(path) > after]
        for at in range(0, len(paths), _AT_A_TIME):
            some = paths[at : at + _AT_A_TIME]
            for letter in await _in_thread(partial(self._letters, some)):
                yield letter

    async def remove(self, letters: Sequence[StoredLetter]) -> int:
        """See `DeadLetterStore`."""
        return await _in_thread(lambda: self._remove(letters))

    def _letters(self, paths: Sequence[Path]) -> list[StoredLetter]:
        return [letter for letter in map(self._letter, paths) if letter is not None]

    def _letter(self, path: Path) -> StoredLetter | None:
        try:
            with path.open("rb") as file:
                version, raw = _version(os.fstat(file.fileno())), file.read()
        except FileNotFoundError:
            return None  # removed since it was listed
        try:
            return StoredLetter(str(path), version, _decode(self._codec, raw))
        except ValueError as error:
            return StoredLetter(str(path), version, {}, str(error))

    def _remove(self, letters: Sequence[StoredLetter]) -> int:
        for folder in {Path(letter.place).parent for letter in letters} - self._cleared:
            self._cleared.add(folder)
            _put_back_left_over(folder)
        gone = [letter for letter in letters if _take(Path(letter.place), letter.version)]
        sync_folders({Path(letter.place).parent for letter in gone})
        return len(gone)


def _decode(codec: Codec, raw: bytes) -> dict[str, Any]:
    """In a worker thread, from where a codec that has to be prepared is asked on the loop."""
    if preparing(codec) is None:
        return decode_letter(codec, raw)
    return from_thread.run(read_letter, codec, raw)


def _version(status: os.stat_result) -> str:
    """Writing a file anew gives it another inode."""
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


def _take(path: Path, version: str) -> bool:
    """Delete a file, but not one that was written in its place since."""
    aside = path.with_name(f".{path.name}{_ASIDE}")
    try:
        if _version(path.stat()) != version:
            return False
        path.rename(aside)
    except FileNotFoundError:
        return False
    if _version(aside.stat()) == version:
        aside.unlink()
        return True
    _put_back(aside, path)  # written anew in between
    return False


def _put_back(aside: Path, path: Path) -> None:
    with suppress(FileExistsError):  # written once more: that one counts
        os.link(aside, path)
    aside.unlink()


def _put_back_left_over(folder: Path) -> None:
    """What a killed command has left aside may be a letter that was written anew.

    Rather one that was done already comes twice than one is lost.
    """
    for aside in folder.glob(f".*{_ASIDE}"):
        _put_back(aside, folder / aside.name[1 : -len(_ASIDE)])


async def _listed(find: Find) -> list[Path]:
    return await _in_thread(lambda: sorted(find()))


async def _in_thread(work: Callable[[], T]) -> T:
    try:
        return await to_thread.run_sync(work)
    except OSError as error:
        raise Misconfigured(f"{error.filename or 'file'}: {error.strerror}") from error
