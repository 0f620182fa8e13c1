"""Lines of one file, or of all that match a pattern."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from glob import glob, has_magic

import anyio
from anyio import to_thread

from streamd.api import (
    Batch,
    Control,
    Counter,
    Misconfigured,
    Retryable,
    partition_name,
    split_partition,
)
from streamd_files.readers import take_batch
from streamd_files.tail import Tail

_OPEN_FILES = 64  # at a time while nothing is followed, so that a pattern may match any number
_RESCAN = 1.0  # seconds between two looks for new files


class Files:
    """Takes turns between the files, so that a large one does not starve the others."""

    def __init__(
        self,
        path: str,
        *,
        follow: bool,
        interval: float,
        make_tail: Callable[[str], Tail],
        control: Control,
        cut: Counter,
    ) -> None:
        """`make_tail(path)` makes the tail of one file; `interval` is in seconds."""
        self._path = os.path.abspath(path)  # a position must not depend on where streamd started
        self._follow = follow
        self._interval = interval
        self._make_tail = make_tail
        self._control = control
        self._cut = cut
        self._tails: dict[str, Tail] = {}
        self._scanned = 0.0
        self._turn = 0

    async def open(self) -> None:
        await to_thread.run_sync(self._scan)
        self._scanned = anyio.current_time()
        if not self._tails and not self._follow:
            raise Misconfigured(f"no file matches {self._path}")

    def close(self) -> None:
        for tail in self._tails.values():
            tail.close()
        self._tails.clear()

    def check(self) -> str:
        paths = [path for path in self._matching() if os.path.exists(path)]
        if not paths and not self._follow:
            raise Misconfigured(f"no file matches {self._path}")
        for path in paths:
            if not os.access(path, os.R_OK):
                raise Misconfigured(f"may not read {path}")
        return f"{self._path}: {len(paths)} files"

    def exhausted(self) -> bool:
        return not self._follow and all(tail.done for tail in self._tails.values())

    async def poll(self, most: int, timeout: float) -> list[Batch]:
        deadline = anyio.current_time() + timeout
        while True:
            batches = await self._poll_once(most)
            remaining = deadline - anyio.current_time()
            if batches or remaining <= 0 or self.exhausted():
                return batches
            await anyio.sleep(min(self._interval, remaining))

    def committed(self, positions: Mapping[str, int]) -> None:
        for partition, position in positions.items():
            path, number = split_partition(partition)
            if path in self._tails:
                self._tails[path].committed(number, position)

    async def _poll_once(self, most: int) -> list[Batch]:
        if self._follow and anyio.current_time() - self._scanned >= _RESCAN:
            await to_thread.run_sync(self._scan)
            self._scanned = anyio.current_time()
        tails = self._active()
        failures = await to_thread.run_sync(_open_all, tails)
        for tail in tails:
            if tail.incarnation is not None and not tail.positioned:
                partition = _partition(tail)
                tail.seek((await self._control.assigned({partition: None}))[partition])
        failures += await to_thread.run_sync(_read_some, tails, most)
        batches = list(self._take(tails, most))
        # A file that cannot be read must not hold back those that can.
        if failures and not batches:
            raise Retryable(f"cannot read {failures[0]}")
        return batches

    def _active(self) -> list[Tail]:
        """The files to read now, each time beginning with another one."""
        tails = list(self._tails.values())
        if not self._follow:
            tails = [tail for tail in tails if not tail.done][:_OPEN_FILES]
        self._turn += 1
        first = self._turn % len(tails) if tails else 0
        return tails[first:] + tails[:first]

    def _take(self, tails: Sequence[Tail], most: int) -> Iterator[Batch]:
        for tail in tails:
            if tail.incarnation is None or not tail.lines.waiting or most <= 0:
                continue
            batch = take_batch(
                tail.lines,
                most,
                partition=_partition(tail),
                timestamp=tail.modified,
                cut=self._cut,
            )
            if batch is not None:
                most -= len(batch)
                yield batch

    def _scan(self) -> None:
        for path in self._matching():
            if path not in self._tails:
                self._tails[path] = self._make_tail(path)

    def _matching(self) -> list[str]:
        if has_magic(self._path) and not os.path.exists(self._path):
            return sorted(filter(os.path.isfile, glob(self._path, recursive=True)))
        return [self._path] if self._follow or os.path.exists(self._path) else []


def _partition(tail: Tail) -> str:
    assert tail.incarnation is not None
    return partition_name(tail.path, tail.incarnation.number)


def _open_all(tails: Sequence[Tail]) -> list[str]:
    """Open what is not open; what could not be, with the reason."""
    failures = []
    for tail in tails:
        try:
            tail.open()
        except OSError as error:
            failures.append(f"{tail.path}: {error.strerror}")
    return failures


def _read_some(tails: Sequence[Tail], most: int) -> list[str]:
    """Read until enough lines wait; what could not be read, with the reason."""
    failures = []
    waiting = 0
    for tail in tails:
        if waiting >= most:
            break
        if tail.positioned and not tail.lines.waiting:
            try:
                tail.read()
            except OSError as error:
                failures.append(f"{tail.path}: {error.strerror}")
        waiting += tail.lines.waiting
    return failures
