"""Lines of standard input."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

import anyio

from streamd.api import Batch, Clock, Control, Counter, Retryable, partition_name
from streamd_files.lines import LineSplitter
from streamd_files.readers import take_batch
from streamd_files.tail import CHUNK

PARTITION = partition_name("stdin")


class Stdin:
    """What is piped into the process, until it ends."""

    def __init__(
        self, *, max_line: int, control: Control, clock: Clock, cut: Counter, fd: int = 0
    ) -> None:
        self._lines = LineSplitter(0, max_line)
        self._control = control
        self._clock = clock
        self._cut = cut
        self._fd = fd
        self._ended = False
        self._assigned = False

    async def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Standard input is not ours to close."""

    def check(self) -> str:
        return "reads standard input"

    def exhausted(self) -> bool:
        return self._ended and not self._lines.waiting

    async def poll(self, most: int, timeout: float) -> list[Batch]:
        if not self._assigned:
            await self._control.assigned({PARTITION: None})
            self._assigned = True
        if not self._lines.waiting:
            with anyio.move_on_after(timeout):
                await self._read()
        now = self._clock.now_ms()
        batch = take_batch(self._lines, most, partition=PARTITION, timestamp=now, cut=self._cut)
        return [batch] if batch else []

    def committed(self, positions: Mapping[str, int]) -> None:
        """A pipe cannot be read again."""

    async def _read(self) -> None:
        while not (self._lines.waiting or self._ended):
            # A thread that reads cannot be called off: it would swallow what comes later.
            if _may_wait(self._fd):
                await anyio.wait_readable(self._fd)
            try:
                chunk = os.read(self._fd, CHUNK)
            except OSError as error:
                raise Retryable(f"cannot read standard input: {error.strerror}") from error
            if chunk:
                self._lines.feed(chunk)
            else:
                self._lines.finish()
                self._ended = True


def _may_wait(fd: int) -> bool:
    """Whether reading may have to wait; a regular file is always ready and cannot be watched."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
