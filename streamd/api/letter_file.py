"""Dead letters as lines of files that others append to meanwhile.

Letters that are removed are noted beside the file at once, in `.<name>.removed`, and taken out of
it when it is compacted: to rewrite a large file for each of them would take too long. Whoever
appends holds the file's lock (`locked`): no line is lost while another file takes its place.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self

import anyio
from anyio import to_thread
from msgspec import structs

from streamd.api.errors import Misconfigured
from streamd.api.letters import StoredLetter

Decode = Callable[[bytes], dict[str, Any]]
"""Raises ValueError."""

_DIGEST = 16
_AT = 20  # digits of a place, so that places sort as text
_AT_A_TIME = 500


@contextmanager
def locked(path: Path, flags: int, mode: int = 0o644) -> Iterator[int]:
    """The file opened, locked, and still the one that stands at the path. Raises OSError."""
    while True:
        fd = os.open(path, flags | os.O_CLOEXEC, mode)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _stands_at(path, fd):
                yield fd
                return
        finally:
            os.close(fd)


def _stands_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


class LetterFiles:
    """A store of such files, in the order given. To be entered; leaving it compacts them."""

    def __init__(self, paths: Sequence[Path], decode: Decode) -> None:
        self._files = {str(path): LetterFile(path, decode) for path in paths}
        self._touched: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with anyio.CancelScope(shield=True):
            for path in self._touched:
                await _in_thread(self._files[path].compact)

    async def read(self, after: str = "") -> AsyncIterator[StoredLetter]:
        """See `DeadLetterStore`."""
        file_of_after, _, place_of_after = after.rpartition("#")
        paths = list(self._files)
        first = paths.index(file_of_after) if file_of_after in paths else 0
        for path in paths[first:]:
            letters = self._files[path].read(place_of_after if path == file_of_after else "")
            while some := await _in_thread(partial(_some, letters)):
                for letter in some:
                    yield structs.replace(letter, place=f"{path}#{letter.place}")

    async def remove(self, letters: Sequence[StoredLetter]) -> int:
        """See `DeadLetterStore`."""
        by_file: dict[str, list[StoredLetter]] = {}
        for letter in letters:
            path, _, place = letter.place.rpartition("#")
            by_file.setdefault(path, []).append(structs.replace(letter, place=place))
        gone = 0
        for path, some in by_file.items():
            self._touched.add(path)
            gone += await _in_thread(partial(self._files[path].remove, some))
        return gone


def _some(letters: Iterator[StoredLetter]) -> list[StoredLetter]:
    return list(islice(letters, _AT_A_TIME))


async def _in_thread(work: Callable[[], Any]) -> Any:
    try:
        return await to_thread.run_sync(work)
    except OSError as error:
        raise Misconfigured(f"{error.filename or 'file'}: {error.strerror}") from error


class LetterFile:
    """One such file. Synchronous. Methods raise OSError."""

    def __init__(self, path: Path, decode: Decode) -> None:
        self.path = path
        self._decode = decode
        self._notes = path.with_name(f".{path.name}.removed")

    def read(self, after: str = "") -> Iterator[StoredLetter]:
        """Every letter whose line is whole, from behind the place `after` on.

        What is removed or compacted meanwhile changes nothing: the file is read as it stood.
        """
        for place, version, line in self._living():
            if place > after:
                yield self._letter(place, version, line)

    def remove(self, letters: Collection[StoredLetter]) -> int:
        """Take letters out, durably, once the notes are; how many."""
        lines = "".join(f"{letter.place} {letter.version}\n" for letter in letters)
        with self._notes.open("ab") as notes:
            notes.write(lines.encode())
            notes.flush()
            os.fsync(notes.fileno())
        return len(letters)

    def compact(self) -> None:
        """Write the file anew without what was removed; a file of nothing else goes."""
        removed = self._removed()
        try:
            with locked(self.path, os.O_RDWR) as fd:
                self._rewrite(fd, removed)
        except FileNotFoundError:
            pass
        self._notes.unlink(missing_ok=True)
        _sync_folder(self.path.parent)

    def count(self) -> int:
        """How many letters there are."""
        if self._notes.exists():
            return sum(1 for _ in self._living())
        try:
            with self.path.open("rb") as file:
                return sum(bool(line.strip()) and line.endswith(b"\n") for line in file)
        except FileNotFoundError:
            return 0

    def _living(self) -> Iterator[tuple[str, str, bytes]]:
        """Place, version and line of each letter.

        A note may be of a line that is gone: a crash came after compacting, before notes went.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            removed = self._removed()
            start = 0
            for line in file:
                if not line.endswith(b"\n"):
                    return  # it is being written, or a crash has torn it
                place, start = f"{start:0{_AT}}", start + len(line)
                version = _digest(line)
                if line.strip() and (place, version) not in removed:
                    yield place, version, line

    def _rewrite(self, fd: int, removed: Collection[tuple[str, str]]) -> None:
        draft = self.path.with_name(f".{self.path.name}.part")
        kept = start = 0
        with os.fdopen(os.dup(fd), "rb") as old, draft.open("wb") as new:
            for line in old:
                place, start = f"{start:0{_AT}}", start + len(line)
                if (place, _digest(line)) not in removed and line.strip():
                    kept += new.write(line)
            new.flush()
            _like(os.fstat(fd), new.fileno())
            os.fsync(new.fileno())
        if kept:
            draft.replace(self.path)
        else:
            self.path.unlink()
            draft.unlink()

    def _removed(self) -> set[tuple[str, str]]:
        """What is noted; a note that a crash has torn is none."""
        try:
            lines = self._notes.read_text("ascii").splitlines(keepends=True)
        except FileNotFoundError:
            return set()
        found = [line.split() for line in lines if line.endswith("\n")]
        return {(words[0], words[1]) for words in found if len(words) == 2}

    def _letter(self, place: str, version: str, line: bytes) -> StoredLetter:
        try:
            return StoredLetter(place, version, self._decode(line))
        except ValueError as error:
            return StoredLetter(place, version, {}, str(error))


def _like(old: os.stat_result, fd: int) -> None:
    """Its mode, and its owner: where root clears letters the daemon appends on after that."""
    os.fchmod(fd, old.st_mode & 0o777)
    new = os.fstat(fd)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(fd, old.st_uid, old.st_gid)


def _digest(line: bytes) -> str:
    return hashlib.blake2b(line, digest_size=_DIGEST).hexdigest()


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
