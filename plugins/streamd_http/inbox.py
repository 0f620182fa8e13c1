"""Requests on their way: queued for the pipeline, then in it, until each event has its outcome.

Pure and synchronous but for the future that a request's handler awaits: one per request, none per
event.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from streamd.api import Settlement

Exceptions = Mapping[int, Settlement]
"""What became of the events of a request that were not stored as they came, by their place."""


class Delivery:
    """The events of one request. `arrived` is in ms since the epoch.

    `answer` becomes the exceptions once every event is decided, or None if that will not be known.
    """

    __slots__ = ("answer", "arrived", "deadline", "first", "ids", "raws", "size", "taken")

    def __init__(
        self,
        raws: list[bytes],
        ids: list[str | None],
        *,
        arrived: int,
        deadline: float,
        answer: asyncio.Future[Exceptions | None],
    ) -> None:
        self.raws = raws
        self.ids = ids
        self.size = sum(map(len, raws))
        self.arrived = arrived
        self.deadline = deadline
        self.answer = answer
        self.first = 0
        self.taken = 0

    def resolve(self, exceptions: Exceptions | None) -> None:
        if not self.answer.done():  # else the time was up, or the handler is gone
            self.answer.set_result(exceptions)


class Taken(NamedTuple):
    """What one poll hands to the pipeline."""

    raws: list[bytes]
    timestamps: list[int]
    offsets: range


class Inbox:
    """All deliveries of one source, in the order of their arrival.

    `next_offsets(count)` gives the offsets of events as they enter the pipeline. With
    `answer_early` a delivery is answered when all of it has entered.
    """

    def __init__(
        self,
        next_offsets: Callable[[int], range],
        *,
        max_events: int,
        max_bytes: int,
        answer_early: bool,
    ) -> None:
        self.arrived = asyncio.Event()
        self.reading = 0  # bytes of bodies that are not complete yet
        self.events = 0
        self.bytes = 0
        self._next_offsets = next_offsets
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._answer_early = answer_early
        self._queue: deque[Delivery] = deque()
        self._in_flight: deque[Delivery] = deque()
        self._unanswered: deque[Delivery] = deque()
        self._told: dict[int, Settlement] = {}

    @property
    def full(self) -> bool:
        return self.events >= self._max_events or self.bytes + self.reading >= self._max_bytes

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for events that are in the pipeline."""
        return bool(self._in_flight) and not self._answer_early

    def offer(self, delivery: Delivery) -> bool:
        """Queue a request; False if there is no room for it. An empty queue takes any one."""
        events = self.events + len(delivery.raws)
        too_much = events > self._max_events or self.bytes + delivery.size > self._max_bytes
        if too_much and self._queue:
            return False
        self.events = events
        self.bytes += delivery.size
        self._queue.append(delivery)
        self._unanswered.append(delivery)
        self.arrived.set()
        return True

    def take(self, max_events: int) -> Taken | None:
        """The next events for the pipeline, at most so many; None if nothing is queued."""
        raws: list[bytes] = []
        timestamps: list[int] = []
        offsets = self._next_offsets(min(self.events, max_events))
        while self._queue and len(raws) < max_events:
            delivery = self._queue[0]
            some = delivery.raws[delivery.taken : delivery.taken + max_events - len(raws)]
            if not delivery.taken:
                delivery.first = offsets.start + len(raws)
                self._in_flight.append(delivery)
            delivery.taken += len(some)
            raws += some
            timestamps += [delivery.arrived] * len(some)
            if delivery.taken == len(delivery.raws):
                self._entered(self._queue.popleft())
        self.events -= len(raws)
        if not self._queue:
            self.arrived.clear()
        return Taken(raws, timestamps, offsets) if raws else None

    def _entered(self, delivery: Delivery) -> None:
        self.bytes -= delivery.size
        delivery.raws = []  # the pipeline has them now
        if self._answer_early:
            delivery.resolve({})

    def settle(self, upto: int, exceptions: Sequence[Settlement]) -> None:
        """Events below this offset are done: stored, but for the exceptions told up to now."""
        for settlement in exceptions:
            known = self._told.setdefault(settlement.offset, settlement)
            if known.dead_letter_id is None:
                self._told[settlement.offset] = settlement
        while self._in_flight:
            delivery = self._in_flight[0]
            stop = delivery.first + len(delivery.ids)
            if stop > upto:
                return
            self._in_flight.popleft()
            delivery.resolve(self._exceptions(delivery.first, stop) if self._told else {})

    def _exceptions(self, first: int, stop: int) -> Exceptions:
        told = self._told
        return {at - first: told.pop(at) for at in range(first, stop) if at in told}

    def expire(self, now: float) -> None:
        """Give up on requests whose deadline has passed; what has not entered never will."""
        while self._unanswered:
            delivery = self._unanswered[0]
            if not delivery.answer.done():
                if delivery.deadline > now:
                    return
                self._withdraw(delivery)
                delivery.resolve(None)
            self._unanswered.popleft()

    def _withdraw(self, delivery: Delivery) -> None:
        if delivery.taken:
            return
        self._queue.remove(delivery)
        self.events -= len(delivery.raws)
        self.bytes -= delivery.size
        if not self._queue:
            self.arrived.clear()

    def send_away(self) -> None:
        """Nothing is polled any more: what waits for it is to be sent again."""
        for delivery in list(self._queue):
            self._withdraw(delivery)
            delivery.resolve(None)

    def close(self) -> None:
        """The pipeline has ended: nothing that is undecided will be decided here."""
        for delivery in (*self._queue, *self._in_flight):
            delivery.resolve(None)
        self._queue.clear()
        self._in_flight.clear()
        self._unanswered.clear()
        self._told.clear()
        self.events = self.bytes = 0
