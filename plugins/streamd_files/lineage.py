"""The files that have stood under one path, one after the other.

A file that is rotated or truncated starts again at byte 0, so its lines need a partition of their
own: `partition_name(path, number)`, where the number counts the files seen under the path. Which
file has which number is kept in a small file under state_dir. A restart finds its position again,
and the files that were rotated away before they were read and stored to the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from streamd_files.durable import replace_file

HEAD = 1024
"""Bytes at the beginning of a file that have to be the same for it to be the same file."""

# app.log.1, app.log-20251119, app.log.2025-11-19_10; not app.log.gz, nor app.log.bak
_ROTATED = re.compile(r"[._-]\d[\d._:TZ-]*")


class Incarnation(msgspec.Struct, frozen=True):
    """One file seen under a path.

    The inode alone would not tell it: file systems give the inode of a deleted file to the next
    one, and a file that is truncated and written again keeps it. `modified` is when it was last
    known to be written, in ns. `start` is the byte offset at which it is read where no position
    is known.
    """

    number: int
    inode: int
    head_size: int
    head: str
    modified: int
    start: int = 0


class _Place(NamedTuple):
    path: str
    inode: int
    modified: int


class Lineage:
    """The incarnations of a path that may still have to be read, the oldest first."""

    def __init__(self, path: str, memory: Path) -> None:
        """`memory` is a folder that belongs to all lineages."""
        self.path = path
        self._memory = memory / f"{_digest(os.fsencode(path))}.json"
        self._known = _load(self._memory)

    def next(self, after: int, least: int) -> tuple[int, Incarnation] | None:
        """Open the oldest file with a number above `after` that still can be found.

        `least` is how many bytes the first of them must have. Raises OSError.
        """
        for known in self._known:
            if known.number > after:
                found = self._find(known, least)
                if found is not None:
                    return found
                least = 0
        return None

    def successor(self, *, from_end: int | None = None) -> tuple[int, Incarnation] | None:
        """Open the file that came after all that are known: one that was rotated away since, or
        the one under the path. The very first one is read from its last `from_end` bytes on.

        Raises OSError.
        """
        last = self._known[-1] if self._known else None
        for place in (*self._rotated_since(last), _place(self.path)):
            fd = _open(place)
            if place is None or fd is None:
                continue  # there is none, or it was renamed just now: the next look finds it
            if place.path != self.path and any(is_same(known, fd) for known in self._known):
                os.close(fd)
                continue
            number = 0 if last is None else last.number + 1
            start = 0 if from_end is None or last is not None else _last_line(fd, from_end)
            fresh = _identify(fd, number, start)
            self._remember([*self._known, fresh])
            return fd, fresh
        return None

    def learn(self, fd: int, incarnation: Incarnation) -> Incarnation:
        """What is to be known of an open file now that there is more of it. Raises OSError."""
        if incarnation.head_size >= min(os.fstat(fd).st_size, HEAD):
            return incarnation
        return self._update(_identify(fd, incarnation.number, incarnation.start))

    def ended(self, fd: int, incarnation: Incarnation) -> None:
        """A file was read to its end and another one stands in its place. Raises OSError."""
        modified = os.fstat(fd).st_mtime_ns
        self._update(msgspec.structs.replace(incarnation, modified=modified))

    def forget(self, numbers: set[int]) -> None:
        """These files are of no interest any more. Raises OSError.

        The last of all stays known, for its number and its time, and so does a file that was
        written in the same moment: it would pass for one that came later.
        """
        *old, last = self._known
        self._remember(
            [k for k in old if k.number not in numbers or k.modified >= last.modified] + [last]
        )

    def _update(self, incarnation: Incarnation) -> Incarnation:
        self._remember([incarnation if k.number == incarnation.number else k for k in self._known])
        return incarnation

    def _remember(self, known: list[Incarnation]) -> None:
        if known != self._known:
            replace_file(self._memory, msgspec.json.encode(known))
            self._known = known

    def _find(self, known: Incarnation, least: int) -> tuple[int, Incarnation] | None:
        """Under its path, renamed, or as the copy that was made before it was truncated."""
        for place in self._candidates(known):
            candidate = msgspec.structs.replace(known, inode=place.inode)
            fd = _open(place)
            if fd is None:
                continue
            if os.fstat(fd).st_size >= least and is_same(candidate, fd):
                return fd, self._update(candidate)
            os.close(fd)
        return None

    def _candidates(self, known: Incarnation) -> Iterator[_Place]:
        own = _place(self.path)
        if own is not None and own.inode == known.inode:
            yield own
        siblings = self._siblings()
        yield from (place for place in siblings if place.inode == known.inode)
        if known.head_size:
            yield from (place for place in siblings if self._is_rotated(place, known))

    def _rotated_since(self, last: Incarnation | None) -> list[_Place]:
        if last is None:
            return []
        places = [place for place in self._siblings() if self._is_rotated(place, last)]
        return sorted(places, key=lambda place: place.modified)

    def _is_rotated(self, place: _Place, since: Incarnation) -> bool:
        suffix = place.path.removeprefix(self.path)
        return place.modified >= since.modified and _ROTATED.fullmatch(suffix) is not None

    def _siblings(self) -> list[_Place]:
        """The other files of the folder."""
        folder, own = os.path.split(self.path)
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return []
        places = (_place(os.path.join(folder, name)) for name in names if name != own)
        return [place for place in places if place is not None]


def is_same(incarnation: Incarnation, fd: int) -> bool:
    """Whether an open file is the one that was seen."""
    if os.fstat(fd).st_ino != incarnation.inode:
        return False
    return _digest(os.pread(fd, incarnation.head_size, 0)) == incarnation.head


def _identify(fd: int, number: int, start: int) -> Incarnation:
    data, status = os.pread(fd, HEAD, 0), os.fstat(fd)
    return Incarnation(number, status.st_ino, len(data), _digest(data), status.st_mtime_ns, start)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _place(path: str) -> _Place | None:
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(path)
        return _Place(path, status.st_ino, status.st_mtime_ns)
    return None


def _open(place: _Place | None) -> int | None:
    """Open what was seen there; None if it is not there any more."""
    if place is None:
        return None
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
        if os.fstat(fd).st_ino == place.inode:
            return fd
        os.close(fd)
    return None


def _last_line(fd: int, most: int) -> int:
    """Where the last line begins that is not complete yet, if in the last `most` bytes."""
    size = os.fstat(fd).st_size
    begin = max(0, size - most)
    return begin + os.pread(fd, size - begin, begin).rfind(b"\n") + 1


def _load(memory: Path) -> list[Incarnation]:
    """Nothing where there is no memory or it cannot be read."""
    try:
        return msgspec.json.decode(memory.read_bytes(), type=list[Incarnation])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return []
