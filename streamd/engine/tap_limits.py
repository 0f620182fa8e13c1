"""How much of a stream a tap looks at: one event in so many, and as long as there is time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random

_SHARE = 0.1
_MOST_AT_ONCE = 0.02  # seconds: how long a batch may be held up after a quiet time


class Thinning:
    """Chooses one row in so many, at a random place in each group of that many.

    So exactly one in n is chosen, and events that come round robin are not always the same ones.
    """

    def __init__(self, one_in: float, random: Random) -> None:
        self._one_in = max(one_in, 1.0)
        self._random = random
        self._passed = 0
        self._group = 0
        self._next = self._place()

    def rows(self, count: int) -> Sequence[int]:
        """The chosen ones of the next rows, ascending."""
        first, self._passed = self._passed, self._passed + count
        if self._one_in == 1.0:
            return range(count)
        chosen = []
        while self._next < self._passed:
            chosen.append(self._next - first)
            self._group += 1
            # Where groups are no whole number of rows, two may choose the same one.
            self._next = max(self._next + 1, self._place())
        return chosen

    def _place(self) -> int:
        return int((self._group + self._random.random()) * self._one_in)


class Budget:
    """A share of the time of the thread, for all taps of a daemon together.

    Once it is spent, half of what may be spent at once is saved up first: to look at a few batches
    whole and let others go is fairer than to see the first rows of each. `clock` is a monotonic
    clock in seconds.
    """

    def __init__(
        self,
        share: float = _SHARE,
        most_at_once: float = _MOST_AT_ONCE,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.clock = clock
        self._share = share
        self._most = self._left = most_at_once
        self._seen = clock()
        self._saving = False

    def open(self) -> bool:
        """Whether there is time to spend."""
        now = self.clock()
        self._left = min(self._most, self._left + (now - self._seen) * self._share)
        self._seen = now
        self._saving = self._left < (self._most / 2 if self._saving else 0)
        return not self._saving

    def spent(self, since: float) -> None:
        """The time since then was spent; more than there was must be saved up as well."""
        self._left -= self.clock() - since
