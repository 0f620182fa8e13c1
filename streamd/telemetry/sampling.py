"""Log lines that would come per event, cut down to one per key and interval."""

from __future__ import annotations

from collections.abc import Callable, Hashable

_MOST_KEYS = 1000


class Sampler:
    """Lets one of many through per key and `interval` seconds, and counts the others.

    `now` is a monotonic clock in seconds.
    """

    def __init__(self, now: Callable[[], float], interval: float = 1.0) -> None:
        self._now = now
        self._interval = interval
        self._last: dict[Hashable, float] = {}
        self._held: dict[Hashable, int] = {}

    def allow(self, key: Hashable, events: int = 1) -> int:
        """How many events a line may speak of now: those since the last line, or 0 for no line."""
        now = self._now()
        if len(self._last) > _MOST_KEYS:  # keys made of data: forget, and speak once more
            self._last.clear()
            self._held.clear()
        total = self._held.pop(key, 0) + events
        if now - self._last.get(key, -self._interval) < self._interval:
            self._held[key] = total
            return 0
        self._last[key] = now
        return total
