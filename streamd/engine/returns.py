"""Dead letters that are on their way through the pipeline again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from streamd.api import Batch

Fate = Literal["done", "dead_lettered", "dropped"]

Place = tuple[str, int]
"""Partition and offset of an event."""


@dataclass(slots=True)
class Return:
    """One dead letter that comes back.

    `attempts` were made before it did, and it came back `replays` times, this one included. A
    letter that fails again is parked after `park_after` of them.
    """

    dlq_id: str
    attempts: int
    replays: int
    park_after: int
    fate: Fate = "done"


class Returns:
    """Those in flight, by the place in a source that the event has always had.

    Several can come from one place: an event that a step has taken apart.
    """

    def __init__(self) -> None:
        self._at: dict[Place, list[Return]] = {}

    def add(self, place: Place, one: Return) -> None:
        self._at.setdefault(place, []).append(one)

    def discard(self, place: Place, one: Return) -> None:
        left = [other for other in self._at.get(place, ()) if other is not one]
        self._at.pop(place, None)
        if left:
            self._at[place] = left

    def holds(self, place: Place) -> bool:
        return bool(self._at) and place in self._at

    def any_of(self, batch: Batch) -> bool:
        """Whether any of these rows is one."""
        return bool(self._at) and any(self.holds(batch.locate(r)) for r in range(len(batch)))

    def met(self, batch: Batch, fate: Fate) -> None:
        """What has become of those of them that are among these rows."""
        for row in range(len(batch) if self._at else 0):
            for one in self._at.get(batch.locate(row), ()):
                one.fate = fate

    def count_on(self, batch: Batch, documents: Sequence[dict[str, Any]]) -> None:
        """Documents of rows that were dead letters before go on counting where those ended."""
        for row in range(len(batch) if self._at else 0):
            if earlier := self._at.get(batch.locate(row)):
                _count_on(documents[row], earlier)


def _count_on(document: dict[str, Any], earlier: Sequence[Return]) -> None:
    document["attempts"] += max(one.attempts for one in earlier)
    document["retry_count"] = document["attempts"] - 1
    document["replays"] = max(one.replays for one in earlier)
    if any(one.replays >= one.park_after for one in earlier):
        document["parked"] = True
    # Another event of the same id may stand where the plain id leads to.
    place = document["metadata"]
    told_apart = f"{document['dlq_id']}-{place['partition']}-{place['offset']}"
    if any(one.dlq_id == told_apart for one in earlier):
        document["dlq_id"] = told_apart
