"""Tumbling and sliding windows as arithmetic: which panes they are made of. Times are in ms."""

from __future__ import annotations

from math import gcd


class Layout:
    """Windows of `size` that start every `slide`, at multiples of it plus `offset`.

    All of them are made of panes, intervals of the greatest length that divides both: an event is
    added to its pane once, whatever the number of windows that it belongs to.
    """

    __slots__ = ("_rest", "offset", "pane", "size", "slide")

    def __init__(self, size: int, slide: int, offset: int = 0) -> None:
        self.size = size
        self.slide = slide
        self.offset = offset % slide
        self.pane = gcd(size, slide)
        self._rest = (offset + size) % slide

    def pane_of(self, time: int) -> int:
        """Start of the pane that an event of this time is in."""
        return time - (time - self.offset) % self.pane

    def end_from(self, time: int) -> int:
        """The first window end at or after this time."""
        return time + (self._rest - time) % self.slide

    def first_end(self, time: int) -> int:
        """End of the earliest window that holds this time."""
        return self.end_from(time + 1)

    def last_end(self, time: int) -> int:
        """End of the latest window that holds this time."""
        return time + self.size - (time + self.size - self._rest) % self.slide

    def ends(self, pane: int, after: int, upto: int) -> range:
        """Ends of the windows that hold a pane and end after `after`, at most at `upto`."""
        first = self.end_from(max(pane, after) + 1)
        return range(first, min(self.last_end(pane), upto) + 1, self.slide)

    def panes(self, end: int) -> range:
        """Starts of the panes of the window with this end."""
        return range(end - self.size, end, self.pane)
