"""Writing files so that what was written is there after a crash. Synchronous."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from streamd.api import locked

_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def append_lines(path: Path, body: bytes, *, sync: bool = True) -> int:
    """Add whole lines to a file: all of them, or none.

    The file is opened each time, so that it may be rotated by whoever likes to, and locked, so
    that dead letters may be taken out of it. A last line without an end (a crash in the middle of
    a write, which was never answered as done) is moved away into `<path>.torn` first. Returns the
    length of such a line, 0 as a rule. Raises OSError.
    """
    _make_folder(path.parent, sync=sync)
    with locked(path, _APPEND) as fd:
        size = os.fstat(fd).st_size
        torn = _torn(fd, size)
        if torn:
            append_lines(path.with_name(path.name + ".torn"), torn + b"\n", sync=sync)
            size -= len(torn)
            os.ftruncate(fd, size)
        try:
            _write(fd, body)
            if sync:
                os.fsync(fd)
        except OSError:
            os.ftruncate(fd, size)
            raise
    if sync and size == 0:
        sync_folders([path.parent])
    return len(torn)


def replace_file(path: Path, body: bytes) -> None:
    """Create or overwrite one file. Raises OSError."""
    replace_files([(path, body)])


def replace_files(files: Iterable[tuple[Path, bytes]], *, sync: bool = True) -> None:
    """Create or overwrite files, each of them as a whole. Raises OSError."""
    folders = set()
    for path, body in files:
        _make_folder(path.parent, sync=sync)
        draft = path.with_name(f".{path.name}.part")
        fd = os.open(draft, _CREATE, 0o644)
        try:
            _write(fd, body)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        draft.replace(path)
        folders.add(path.parent)
    if sync:
        sync_folders(folders)


def _torn(fd: int, size: int) -> bytes:
    """What stands after the last line end."""
    if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
        return b""
    length, tail = 1024, b""
    while b"\n" not in tail and len(tail) < size:
        length = min(2 * length, size)
        tail = os.pread(fd, length, size - length)
    return tail.rpartition(b"\n")[2]


def _write(fd: int, body: bytes) -> None:
    view = memoryview(body)
    while view:
        view = view[os.write(fd, view) :]


def _make_folder(folder: Path, *, sync: bool) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent, sync=sync)
    folder.mkdir(exist_ok=True)
    if sync:
        sync_folders([folder.parent])


def sync_folders(folders: Iterable[Path]) -> None:
    """A new name is durable only when its folder is."""
    for folder in folders:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
