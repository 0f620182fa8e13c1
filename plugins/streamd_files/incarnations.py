"""Telling one file from the next that stands under the same path.

A file that is rotated or truncated starts again at byte 0, so its lines need a partition of their
own: `partition_name(path, number)`, where the number counts the files seen under the path. Which
file has which number is kept in a small file under state_dir: a restart finds its position again,
and finds the files that were rotated away before they were read and stored to the end.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from streamd_files.durable import replace_file

HEAD = 1024
"""Bytes at the beginning of a file that have to be the same for it to be the same file."""


class Incarnation(msgspec.Struct, frozen=True):
    """One file seen under a path: its number, inode, a hash of its first bytes, and the byte
    offset from which it is read where no position is known."""

    number: int
    inode: int
    head_size: int
    head: str
    start: int = 0


def identify(fd: int, number: int, start: int = 0) -> Incarnation:
    """The incarnation that an open file is."""
    data = os.pread(fd, HEAD, 0)
    return Incarnation(number, os.fstat(fd).st_ino, len(data), _digest(data), start)


def is_same(incarnation: Incarnation, fd: int) -> bool:
    """Whether an open file is the one that was seen.

    The inode alone would not do: file systems give the inode of a deleted file to the next one,
    and a file that is truncated and written again keeps it.
    """
    if os.fstat(fd).st_ino != incarnation.inode:
        return False
    return _digest(os.pread(fd, incarnation.head_size, 0)) == incarnation.head


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def load(folder: Path, path: str) -> list[Incarnation]:
    """What is remembered of a path, the oldest first; nothing where the memory is unreadable."""
    try:
        return msgspec.json.decode(_file(folder, path).read_bytes(), type=list[Incarnation])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return []


def store(folder: Path, path: str, incarnations: list[Incarnation]) -> None:
    """Durable when this returns. Raises OSError."""
    replace_file(_file(folder, path), msgspec.json.encode(incarnations))


def _file(folder: Path, path: str) -> Path:
    name = hashlib.blake2b(os.fsencode(path), digest_size=16).hexdigest()
    return folder / f"{name}.json"
