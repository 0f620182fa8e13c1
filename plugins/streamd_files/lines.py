"""Cutting a stream of bytes into lines whose place in the stream is known."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple


class Lines(NamedTuple):
    """Lines without their ends, the byte offset of each, and where the next one begins."""

    raws: list[bytes]
    offsets: list[int]
    stop: int


class LineSplitter:
    """Takes chunks of a stream, gives whole lines.

    Blank lines are left out and a carriage return before the line's end is removed. A line longer
    than `max_line` bytes is cut there and marked, so that its event is refused by the codec with
    its beginning in sight, and never fills the memory.

    - `end`: offset after the last byte that was fed.
    - `start`: offset of the line that is not complete yet.
    - `cut`: how many lines were too long.
    """

    def __init__(self, start: int, max_line: int) -> None:
        self.start = self.end = start
        self.max_line = max_line
        self.cut = 0
        self._rest = b""
        self._raws: list[bytes] = []
        self._offsets: list[int] = []
        self._taken = 0

    @property
    def waiting(self) -> int:
        """How many lines can be taken."""
        return len(self._raws) - self._taken

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the stream; only when no lines wait."""
        base, self.end = self.end, self.end + len(chunk)
        body, newline, rest = chunk.rpartition(b"\n")
        if not newline:
            self._hold(chunk)
            return
        raws = body.split(b"\n")
        offsets = list(accumulate([len(raw) + 1 for raw in raws[:-1]], initial=base))
        # The first line may have begun in an earlier chunk.
        offsets[0] = self.start
        raws[0] = self._rest + raws[0]
        self.start = base + len(body) + 1
        self._rest = b""
        self._hold(rest)
        self._set(raws, offsets)

    def finish(self) -> None:
        """The stream has ended: a last line without an end is a line too."""
        if self.start < self.end:
            raws, offsets = [self._rest], [self.start]
            self.start, self._rest = self.end, b""
            self._set(raws, offsets)

    def take(self, most: int) -> Lines:
        """Up to `most` of the lines that wait."""
        first, last = self._taken, min(self._taken + most, len(self._raws))
        self._taken = last
        stop = self._offsets[last] if last < len(self._offsets) else self.start
        return Lines(self._raws[first:last], self._offsets[first:last], stop)

    def _hold(self, piece: bytes) -> None:
        if len(self._rest) <= self.max_line:
            self._rest = (self._rest + piece)[: self.max_line + 1]

    def _set(self, raws: list[bytes], offsets: list[int]) -> None:
        if max(map(len, raws)) > self.max_line:
            raws = [raw if len(raw) <= self.max_line else self._shortened(raw) for raw in raws]
        if any(raw.endswith(b"\r") for raw in raws):
            raws = [raw[:-1] if raw.endswith(b"\r") else raw for raw in raws]
        if not all(raws):
            kept = [i for i, raw in enumerate(raws) if raw]
            raws = [raws[i] for i in kept]
            offsets = [offsets[i] for i in kept]
        self._raws, self._offsets, self._taken = raws, offsets, 0

    def _shortened(self, raw: bytes) -> bytes:
        self.cut += 1
        return raw[: self.max_line] + b" ...[cut: a line may have %d bytes]" % self.max_line
