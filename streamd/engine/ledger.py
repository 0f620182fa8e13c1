"""Epochs: which events are done, and so how far a source may be committed.

Pure and synchronous. A batch that enters a slot is `sent` in its epoch and `done` once it is
delivered or dead-lettered. What is derived from it (a dead letter, a window's result) is `sent`
before it is `done`, so that a count of zero means that nothing of the epoch is left anywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from streamd.api import Settlement

Change = tuple[str, str, str, bytes, bytes | None]
"""(step, its state key, partition, key, value or None where it is gone)."""


@dataclass(slots=True)
class Cut:
    """What becomes true when an epoch is complete: positions per source, and changes of state."""

    positions: dict[str, dict[str, int]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    def forget(self, partitions: Collection[str]) -> None:
        """Leave out partitions that have moved away: a late ack for them is inert."""
        for positions in self.positions.values():
            for partition in partitions:
                positions.pop(partition, None)
        self.changes = [change for change in self.changes if change[2] not in partitions]

    def update(self, later: Cut) -> None:
        """Add what a later epoch changed."""
        for source, positions in later.positions.items():
            self.positions.setdefault(source, {}).update(positions)
        self.changes.extend(later.changes)


@dataclass(slots=True)
class Epoch:
    """`events` and `size` (bytes) were read in it; `pending` batches of it are in slots."""

    number: int
    opened: float
    events: int = 0
    size: int = 0
    pending: int = 0
    touched: bool = False
    cut: Cut | None = None
    settlements: list[Settlement] = field(default_factory=list)
    failed: int = 0


class Ledger:
    """The epochs that are not durable yet, the open one last."""

    def __init__(self, first: int = 1, now: float = 0.0) -> None:
        self._epochs: deque[Epoch] = deque([Epoch(first, now)])
        self.events = 0
        self.size = 0

    @property
    def open(self) -> Epoch:
        return self._epochs[-1]

    @property
    def oldest(self) -> Epoch:
        return self._epochs[0]

    @property
    def unfinished(self) -> int:
        """How many closed epochs are not durable yet."""
        return len(self._epochs) - 1

    @property
    def idle(self) -> bool:
        """Whether nothing at all is in flight."""
        return not self.unfinished and not self.open.touched

    def read(self, events: int, size: int) -> None:
        """Events and bytes have come in; they count against the budget until they are done."""
        epoch = self.open
        epoch.touched = True
        epoch.events += events
        epoch.size += size
        self.events += events
        self.size += size

    def sent(self, number: int) -> None:
        epoch = self._find(number)
        epoch.touched = True
        epoch.pending += 1

    def done(self, number: int) -> None:
        epoch = self._find(number)
        if epoch.pending <= 0:
            raise AssertionError(f"epoch {number}: more batches done than sent")
        epoch.pending -= 1

    def failed(
        self, numbers: Sequence[int], rows: int, settlements: Collection[Settlement] = ()
    ) -> None:
        """Rows of these epochs were not stored as they came. What a source must be told goes along.

        Nobody knows which row is of which epoch: each counts as many as it has events.
        """
        epochs = [self._find(number) for number in sorted(numbers)]
        epochs[0].settlements.extend(settlements)
        for epoch in epochs:
            share = min(rows, max(0, epoch.events - epoch.failed))
            epoch.failed += share
            rows -= share

    def close(self, cut: Cut, now: float) -> int:
        """End the open epoch with what is true after it; returns its number."""
        epoch = self.open
        epoch.cut = cut
        self._epochs.append(Epoch(epoch.number + 1, now))
        return epoch.number

    def completed(self) -> list[Epoch]:
        """The closed epochs of which nothing is pending, as far as all before them are complete."""
        return list(
            takewhile(lambda epoch: epoch.cut is not None and not epoch.pending, self._epochs)
        )

    def retire(self, last: int) -> None:
        """Epochs up to this one are durable: they leave the ledger and free their budget."""
        while self.unfinished and self.oldest.number <= last:
            epoch = self._epochs.popleft()
            self.events -= epoch.events
            self.size -= epoch.size

    def forget(self, partitions: Collection[str]) -> None:
        """Partitions have moved away: no closed epoch may commit them any more."""
        for epoch in self._epochs:
            if epoch.cut is not None:
                epoch.cut.forget(partitions)

    def changes(self) -> Iterator[Change]:
        """The changes of state that are not durable yet, oldest first."""
        for epoch in self._epochs:
            if epoch.cut is not None:
                yield from epoch.cut.changes

    def keep_changes(self, stay: Collection[tuple[str, str]]) -> None:
        """Drop changes that are not durable yet, but for those of these (step, state key)."""
        for epoch in self._epochs:
            if epoch.cut is not None:
                epoch.cut.changes = [c for c in epoch.cut.changes if (c[0], c[1]) in stay]

    def _find(self, number: int) -> Epoch:
        index = number - self._epochs[0].number
        if not 0 <= index < len(self._epochs):
            raise AssertionError(f"epoch {number} is complete already or was never open")
        return self._epochs[index]
