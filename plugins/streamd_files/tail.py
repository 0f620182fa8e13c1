"""Reading one path line by line, through growth, truncation and rotation. Synchronous."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from streamd_files.incarnations import HEAD, Incarnation, identify, is_same, load, store
from streamd_files.lines import LineSplitter

CHUNK = 1024 * 1024


class Tail:
    """The file that is open under a path, and where in it we are.

    - `incarnation`: which file it is; None while none is open.
    - `positioned`: `seek` was called since it was opened.
    - `lines`: the lines that were read and wait to be taken.
    - `modified`: when the file was last written, in milliseconds since the epoch.
    - `done`: the end was reached and the file is not followed.
    """

    def __init__(
        self,
        path: str,
        *,
        follow: bool,
        from_end: bool,
        max_line: int,
        memory: Path,
        replaced: Callable[[str, str], None],
    ) -> None:
        """`memory` is the folder of the incarnations; `replaced(path, how)` is told when the
        file has become another one."""
        self.path = path
        self.lines = LineSplitter(0, max_line)
        self.incarnation: Incarnation | None = None
        self.positioned = False
        self.modified = 0
        self.done = False
        self._follow = follow
        self._from_end = from_end
        self._max_line = max_line
        self._memory = memory
        self._replaced = replaced
        self._fd = -1
        self._known = load(memory, path)
        self._read_up_to = -1  # number of the last incarnation that was read to its end
        # By number: where a file that was rotated away has ended, and up to where one is stored.
        self._ended: dict[int, int] = {}
        self._stored: dict[int, int] = {}

    def open(self) -> bool:
        """Open the oldest file that is not read yet, unless one is open. Raises OSError.

        That may be one that was renamed before we, or the run before, had read it to its end.
        """
        if self.incarnation is not None:
            return True
        for known in self._known:
            if known.number > self._read_up_to:
                fd = self._find(known)
                if fd is not None:
                    return self._opened(fd, known)
        fd = _open(self.path)
        if fd is None:
            return False
        # Nothing is left of the files that were not found: their numbers are all that is kept.
        number = max([self._read_up_to, *(known.number for known in self._known)]) + 1
        start = _last_line(fd, self._max_line) if self._from_end and number == 0 else 0
        fresh = identify(fd, number, start)
        self._remember([*(old for old in self._known if old.number in self._ended), fresh])
        return self._opened(fd, fresh)

    def seek(self, position: int | None) -> None:
        """Right after `open`: where to go on, None if no position is known."""
        assert self.incarnation is not None
        offset = self.incarnation.start if position is None else position
        self.lines = LineSplitter(offset, self._max_line)
        self.positioned = True
        if position is not None:
            self._stored[self.incarnation.number] = position

    def read(self) -> None:
        """Read the next lines, if there are any, into `lines`. Raises OSError.

        Only while a file is open and no lines wait; it may be closed when this returns.
        """
        assert self.incarnation is not None
        if self._ended:
            self._forget_stored()
        status = os.fstat(self._fd)
        self.modified = status.st_mtime_ns // 1_000_000
        if status.st_size < self.lines.end or not is_same(self.incarnation, self._fd):
            self._truncated()
            return
        self._learn_head(status.st_size)
        # Looked up before the file is read: what came before it was renamed is then in the chunk.
        gone = status.st_nlink == 0 or self._has_moved()
        chunk = os.pread(self._fd, CHUNK, self.lines.end)
        if chunk:
            self.lines.feed(chunk)
        elif gone or not self._follow:
            self.lines.finish()
            if not self.lines.waiting:
                self._end(gone)

    def committed(self, number: int, position: int) -> None:
        """All before the position of a file is stored. Does no I/O; safe while `read` runs."""
        self._stored[number] = position

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self.incarnation, self.positioned = -1, None, False

    def _opened(self, fd: int, incarnation: Incarnation) -> bool:
        self._fd, self.incarnation, self.positioned = fd, incarnation, False
        return True

    def _end(self, gone: bool) -> None:
        assert self.incarnation is not None
        if gone:
            self._read_up_to = self.incarnation.number
            self._ended[self._read_up_to] = self.lines.end
            self._replaced(self.path, "rotated")
        else:
            self.done = True
        self.close()

    def _truncated(self) -> None:
        """What was not read of the file is lost; what is in it now is another file."""
        assert self.incarnation is not None
        self._replaced(self.path, "truncated")
        self._read_up_to = self.incarnation.number
        self.close()

    def _has_moved(self) -> bool:
        """Whether another file stands under the path; without any, one may yet come."""
        try:
            return os.stat(self.path).st_ino != os.fstat(self._fd).st_ino
        except FileNotFoundError:
            return False

    def _learn_head(self, size: int) -> None:
        """A file that was nearly empty when it was first seen is known by little of it."""
        assert self.incarnation is not None
        if self.incarnation.head_size < min(size, HEAD):
            old = self.incarnation
            self.incarnation = identify(self._fd, old.number, old.start)
            self._remember([self.incarnation if known is old else known for known in self._known])

    def _remember(self, known: list[Incarnation]) -> None:
        store(self._memory, self.path, known)
        self._known = known

    def _forget_stored(self) -> None:
        """Files that were rotated away are of no interest once all of them is stored."""
        stored = {n for n, end in self._ended.items() if self._stored.get(n, -1) >= end}
        if stored:
            self._remember([known for known in self._known if known.number not in stored])
            for number in stored:
                del self._ended[number], self._stored[number]

    def _find(self, known: Incarnation) -> int | None:
        for candidate in (self.path, *_renamed(self.path, known.inode)):
            fd = _open(candidate)
            if fd is not None:
                if is_same(known, fd):
                    return fd
                os.close(fd)
        return None


def _open(path: str) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return None


def _last_line(fd: int, max_line: int) -> int:
    """Where the last line begins that is not complete yet."""
    size = os.fstat(fd).st_size
    begin = max(0, size - max_line)
    return begin + os.pread(fd, size - begin, begin).rfind(b"\n") + 1


def _renamed(path: str, inode: int) -> list[str]:
    """Files beside the path that have the inode."""
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder) as entries:
            return [
                entry.path for entry in entries if entry.inode() == inode and entry.name != name
            ]
    except FileNotFoundError:
        return []
