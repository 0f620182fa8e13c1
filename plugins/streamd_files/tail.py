"""Reading one path line by line, through growth, truncation and rotation. Synchronous."""

from __future__ import annotations

import os
from collections.abc import Callable

from streamd_files.lineage import Incarnation, Lineage, is_same
from streamd_files.lines import LineSplitter

CHUNK = 1024 * 1024


class Tail:
    """The file that is open for a path, and where in it we are.

    - `incarnation`: which file it is; None while none is open.
    - `positioned`: `seek` was called since it was opened.
    - `lines`: the lines that were read and wait to be taken.
    - `modified`: when the file was last written, in milliseconds since the epoch.
    - `done`: the end was reached and the file is not followed.
    """

    def __init__(
        self,
        lineage: Lineage,
        *,
        follow: bool,
        from_end: bool,
        max_line: int,
        replaced: Callable[[str, str], None],
    ) -> None:
        """`replaced(path, how)` is told when the file has become another one."""
        self.path = lineage.path
        self.lines = LineSplitter(0, max_line)
        self.incarnation: Incarnation | None = None
        self.positioned = False
        self.modified = 0
        self.done = False
        self._lineage = lineage
        self._follow = follow
        self._from_end = max_line if from_end else None
        self._max_line = max_line
        self._replaced = replaced
        self._fd = -1
        self._finished = -1  # number of the last file that is over
        self._truncated: int | None = None  # number of the file to be found again as a copy
        # By number: where a file that was rotated away has ended, and up to where one is stored.
        self._ended: dict[int, int] = {}
        self._stored: dict[int, int] = {}

    def open(self) -> None:
        """Open the oldest file that is not read yet, unless one is open. Raises OSError."""
        if self.incarnation is not None:
            return
        least = 0 if self._truncated is None else self.lines.end
        found = self._lineage.next(self._finished, least)
        found = found or self._lineage.successor(from_end=self._from_end)
        if found is None:
            return
        self._fd, self.incarnation = found
        # The rest of a file that was truncated, in its copy: we know where we were.
        self.positioned = self.incarnation.number == self._truncated
        if self._truncated is not None and not self.positioned:
            self._finished = max(self._finished, self._truncated)
        self._truncated = None

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
            self._truncated = self.incarnation.number
            self._replaced(self.path, "truncated")
            self.close()
            return
        self.incarnation = self._lineage.learn(self._fd, self.incarnation)
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

    def _end(self, gone: bool) -> None:
        assert self.incarnation is not None
        if gone:
            self._lineage.ended(self._fd, self.incarnation)
            self._finished = self.incarnation.number
            self._ended[self._finished] = self.lines.end
            self._replaced(self.path, "rotated")
        else:
            self.done = True
        self.close()

    def _has_moved(self) -> bool:
        """Whether another file stands under the path; without any, one may yet come."""
        try:
            return os.stat(self.path).st_ino != os.fstat(self._fd).st_ino
        except FileNotFoundError:
            return False

    def _forget_stored(self) -> None:
        """Files that were rotated away are of no interest once all of them is stored."""
        stored = {n for n, end in self._ended.items() if self._stored.get(n, -1) >= end}
        if stored:
            self._lineage.forget(stored)
            for number in stored:
                del self._ended[number], self._stored[number]
