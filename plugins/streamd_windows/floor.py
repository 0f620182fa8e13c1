"""Up to where windows have been closed and forgotten, for the stage and for each partition."""

from __future__ import annotations

from streamd_windows.slices import NEVER, Slice, Slices


class Floor:
    """`at`: the watermark up to which the stage has closed windows (ms), `NEVER` at the start.

    `lateness` in ms. With `aligned` a partition that comes goes on in its own time, otherwise all
    take over the time of the one that has come furthest.
    """

    def __init__(self, slices: Slices, lateness: int, *, aligned: bool) -> None:
        self.at = NEVER
        self._slices = slices
        self._lateness = lateness
        self._aligned = aligned
        self._over = NEVER

    def rise(self, time: int) -> None:
        """Windows up to this time are being closed."""
        self.at = max(self.at, time)

    def of(self, slice_: Slice) -> int:
        """What a partition brings below this is late. It learns what all have forgotten."""
        slice_.over = max(slice_.over, self._over)
        return max(slice_.floor, self.at)

    def join(self, slice_: Slice) -> None:
        """A partition has come, with its own past."""
        if not self._aligned:
            self.at = max(self.at, slice_.floor)
            self._over = max(self._over, slice_.over)

    def part(self) -> None:
        """Others are about to come: from here on each has its own time, if they are aligned."""
        if self._aligned:
            self.settle()
            self.at = NEVER

    def settle(self) -> None:
        """Let the partitions know, for their state."""
        for slice_ in self._slices.values():
            if slice_.floor < self.at:
                slice_.floor = self.at
                slice_.changed = True
            slice_.over = max(slice_.over, self._over, slice_.floor - self._lateness)
