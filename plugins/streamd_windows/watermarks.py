"""The watermark: the event time before which nothing more is expected.

Every partition has its own, the latest event time it has shown less the allowed disorder. The
stage's is the lowest among the partitions that are active. A partition that is assigned and has
not spoken yet is active too: its events may be the oldest of all. One that has been silent for
`idle_after` seconds is not, until it speaks again. Seconds are the engine's `active` seconds,
which stand still while the engine holds the source back.

After a silence of all (`hush`) whoever speaks first wakes the others: perhaps the source was away,
and all that it has for one partition comes before the first event of the next.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from itertools import accumulate

from streamd_windows.slices import NEVER, Slice

BEYOND = 1 << 62


class Watermarks:
    """Times are ms since the epoch. `slack` is how far an event may lag behind its partition.

    `streams` are inputs of which none has been heard yet: where a stage reads several, a stream
    whose source is slow to open holds the watermark back like a silent partition.
    """

    def __init__(self, slack: int, idle_after: float, streams: Iterable[str] = ()) -> None:
        self.slack = slack
        self.idle_after = idle_after
        self.active = 0.0
        self._started: float | None = None
        self._hushed = False
        self._silent_streams = set(streams)
        self._slices: dict[str, Slice] = {}
        self._waiting: dict[str, int] = {}
        # (watermark when queued, name), lowest first, so that the lowest is cheap to find among
        # thousands. Watermarks rise and partitions fall idle without the queue being told: what
        # comes to its top is looked at anew.
        self._queue: list[tuple[int, str]] = []

    def add(self, slice_: Slice) -> None:
        """A partition that is ours from now on."""
        self._slices[slice_.name] = slice_
        slice_.heard = self.active
        self._enqueue(slice_)

    def remove(self, name: str) -> None:
        """Take no more notice of a partition."""
        slice_ = self._slices.pop(name, None)
        if slice_ is not None:
            slice_.queued = False
            self._queue = [entry for entry in self._queue if entry[1] != name]
            heapq.heapify(self._queue)

    def heard(
        self, slice_: Slice, stream: str | None, times: Sequence[int], *, wait: bool = False
    ) -> int:
        """Events of a partition arrived. Returns the lowest watermark of the others.

        With `wait` their times count from the next `release` on.
        """
        if self._hushed:
            self._wake()
        self._silent_streams.discard(stream or "")
        self._slices[slice_.name] = slice_
        slice_.heard = self.active
        slice_.idle = False
        if wait:
            self._waiting[slice_.name] = max(self._waiting.get(slice_.name, NEVER), *times)
        else:
            self._rise(slice_, max(times))
        if not slice_.queued:
            self._enqueue(slice_)
        return NEVER if self._silent_streams else self._lowest_of_others(slice_.name)

    def hush(self) -> None:
        """All have been silent for so long that time went on without them."""
        self._hushed = True

    def release(self) -> None:
        """Let the times count that were told to wait."""
        waiting, self._waiting = self._waiting, {}
        for name, latest in waiting.items():
            if (slice_ := self._slices.get(name)) is not None:
                self._rise(slice_, latest)

    def marks(self, high: int, floor: int, others: int, times: Sequence[int]) -> list[int]:
        """The watermark after each event, as if they had come one at a time.

        `high` is what the partition's was before them. This is what makes late the same in every
        run of a partition, wherever its batches are cut.
        """
        slack = self.slack
        highs = accumulate(times, max, initial=high)
        next(highs)
        return [max(floor, min(value - slack, others)) for value in highs]

    def current(self) -> int | None:
        """The stage's watermark; None while no partition is active."""
        if self._silent_streams:
            return NEVER
        lowest = self._lowest()
        return None if lowest == BEYOND else lowest

    def tick(self, active: float) -> None:
        """Time has passed: see who is idle."""
        self.active = active
        if self._started is None:  # a stage that a reload has added starts in the middle
            self._started = active
            for slice_ in self._slices.values():
                slice_.heard = active
        limit = active - self.idle_after
        if self.idle_after and limit >= self._started:
            self._silent_streams.clear()
            for slice_ in self._slices.values():
                slice_.idle = slice_.heard <= limit

    def heard_last(self) -> float:
        """When, in active seconds, the last event of any partition came."""
        return max((s.heard for s in self._slices.values()), default=self.active)

    def _wake(self) -> None:
        self._hushed = False
        for slice_ in self._slices.values():
            slice_.heard, slice_.idle = self.active, False
            if not slice_.queued:
                self._enqueue(slice_)

    def _rise(self, slice_: Slice, latest: int) -> None:
        if latest > slice_.high:
            slice_.high = latest
            slice_.changed = True

    def _of(self, slice_: Slice) -> int:
        return NEVER if slice_.high == NEVER else slice_.high - self.slack

    def _enqueue(self, slice_: Slice) -> None:
        slice_.queued = True
        heapq.heappush(self._queue, (self._of(slice_), slice_.name))

    def _lowest(self) -> int:
        queue = self._queue
        while queue:
            value, name = queue[0]
            slice_ = self._slices[name]
            if slice_.idle:
                slice_.queued = False
                heapq.heappop(queue)
            elif value != self._of(slice_):
                heapq.heapreplace(queue, (self._of(slice_), name))
            else:
                return value
        return BEYOND

    def _lowest_of_others(self, name: str) -> int:
        lowest = self._lowest()
        if self._queue[0][1] != name:
            return lowest
        top = heapq.heappop(self._queue)
        lowest = self._lowest()
        heapq.heappush(self._queue, top)
        return lowest
