"""Requests on their way, against a plain model: each is answered once, by what became of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamd.api import Outcome, Settlement
from streamd_http.inbox import Delivery, Exceptions, Inbox

FIRST = 1000


class Answer:
    """A future without a loop."""

    def __init__(self) -> None:
        self.value: Exceptions | str | None = "none yet"

    def done(self) -> bool:
        return self.value != "none yet"

    def set_result(self, value: Exceptions | None) -> None:
        assert not self.done()
        self.value = value


def inbox_of(*, max_events: int = 50, max_bytes: int = 1000, early: bool = False) -> Inbox:
    class Gapless:
        at = FIRST

        def __call__(self, wanted: int) -> range:
            taken = range(self.at, self.at + wanted)
            self.at = taken.stop
            return taken

    return Inbox(Gapless(), max_events=max_events, max_bytes=max_bytes, answer_early=early)


def delivery(events: int, *, deadline: float = 10.0, tag: str = "e") -> Delivery:
    raws = [f"{tag}{n}".encode() for n in range(events)]
    answer: asyncio.Future[Exceptions | None] = Answer()  # type: ignore[assignment]
    return Delivery(raws, [None] * events, arrived=7, deadline=deadline, answer=answer)


def answered(one: Delivery) -> Any:
    return one.answer.value  # type: ignore[attr-defined]


def told(offset: int, outcome: Outcome, dlq_id: str | None = None) -> Settlement:
    return Settlement("p:0", offset, outcome, None, dlq_id)


def test_a_request_is_answered_when_its_last_event_is_done() -> None:
    inbox, one, two = inbox_of(), delivery(3), delivery(2)
    assert inbox.offer(one)
    assert inbox.offer(two)
    taken = inbox.take(100)
    assert taken is not None
    assert taken.offsets == range(FIRST, FIRST + 5)
    assert len(taken.raws) == len(taken.timestamps) == 5
    inbox.settle(FIRST + 2, [])
    assert not one.answer.done()
    inbox.settle(FIRST + 4, [])
    assert answered(one) == {}
    assert answered(two) == "none yet"
    inbox.settle(FIRST + 5, [])
    assert answered(two) == {}
    assert not inbox.waiting


def test_an_exception_may_come_before_its_time() -> None:
    inbox, one, two = inbox_of(), delivery(2), delivery(2)
    inbox.offer(one), inbox.offer(two)
    inbox.take(100)
    late, early = told(FIRST + 1, "rejected"), told(FIRST + 3, "dead_lettered", "d")
    inbox.settle(FIRST, [early])
    inbox.settle(FIRST + 4, [late])
    assert answered(one) == {1: late}
    assert answered(two) == {1: early}


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_outcomes_the_dead_letter_is_told(order: int) -> None:
    inbox, one = inbox_of(), delivery(1)
    inbox.offer(one)
    inbox.take(1)
    outcomes = [told(FIRST, "dropped"), told(FIRST, "dead_lettered", "d")][::order]
    inbox.settle(FIRST + 1, outcomes)
    assert answered(one) == {0: told(FIRST, "dead_lettered", "d")}


def test_a_large_request_enters_in_pieces() -> None:
    inbox, one = inbox_of(), delivery(10)
    inbox.offer(one)
    pieces = [inbox.take(4) for _ in range(3)]
    assert [len(piece.raws) for piece in pieces if piece] == [4, 4, 2]
    assert inbox.take(4) is None
    inbox.settle(FIRST + 9, [])
    assert not one.answer.done()
    inbox.settle(FIRST + 10, [])
    assert answered(one) == {}


def test_full_by_events() -> None:
    inbox = inbox_of(max_events=3)
    assert [inbox.offer(delivery(n)) for n in (2, 2, 1, 1)] == [True, False, True, False]
    before = inbox.full
    inbox.take(1)
    assert (before, inbox.full) == (True, False)


def test_full_by_bytes_and_by_bodies_being_read() -> None:
    inbox = inbox_of(max_bytes=10)
    assert [inbox.offer(delivery(n)) for n in (4, 2)] == [True, False]
    before = inbox.full
    inbox.reading = 2
    assert (before, inbox.full) == (False, True)


def test_an_empty_queue_takes_a_request_of_any_size() -> None:
    inbox = inbox_of(max_events=3, max_bytes=5)
    assert inbox.offer(delivery(10))
    assert inbox.full


def test_what_has_not_entered_in_time_never_will() -> None:
    inbox, entered, late, young = inbox_of(), delivery(2), delivery(3), delivery(1, deadline=99)
    inbox.offer(entered)
    inbox.take(1)  # a part of it
    inbox.offer(late), inbox.offer(young)
    inbox.expire(10.0)
    assert answered(entered) is None
    assert answered(late) is None
    assert not young.answer.done()
    taken = inbox.take(100)
    assert taken is not None
    assert taken.raws == [b"e1", b"e0"], "the rest of the first, and the young one"
    inbox.settle(FIRST + 3, [])
    assert answered(young) == {}
    assert inbox.events == inbox.bytes == 0


def test_accepted_is_answered_when_all_of_it_has_entered() -> None:
    inbox, one = inbox_of(early=True), delivery(2)
    inbox.offer(one)
    inbox.take(1)
    assert not one.answer.done()
    inbox.take(1)
    assert answered(one) == {}
    assert not inbox.waiting
    inbox.settle(FIRST + 2, [told(FIRST, "rejected")])


def test_close_decides_nothing() -> None:
    inbox, inside, queued = inbox_of(), delivery(1), delivery(1)
    inbox.offer(inside)
    inbox.take(1)
    inbox.offer(queued)
    inbox.close()
    assert answered(inside) is answered(queued) is None
    assert inbox.take(1) is None


class Model(RuleBasedStateMachine):
    """Any order of arrivals, polls, settlements and expiries."""

    def __init__(self) -> None:
        super().__init__()
        self.inbox = inbox_of(max_events=12)
        self.number = 0
        self.now = 0.0
        self.known: list[tuple[str, int, Delivery]] = []
        self.entered: list[str] = []
        self.rejected: set[str] = set()
        self.upto = 0

    @rule(events=st.integers(1, 6))
    def arrive(self, events: int) -> None:
        tag = f"{self.number}."
        self.number += 1
        # All requests wait equally long: deadlines ascend.
        one = delivery(events, deadline=self.now + 5, tag=tag)
        if self.inbox.offer(one):
            self.known.append((tag, events, one))

    @rule(most=st.integers(1, 8))
    def poll(self, most: int) -> None:
        taken = self.inbox.take(most)
        if taken is not None:
            assert taken.offsets == range(
                FIRST + len(self.entered), FIRST + len(self.entered) + len(taken.raws)
            )
            assert 0 < len(taken.raws) <= most
            self.entered += [raw.decode() for raw in taken.raws]

    @precondition(lambda self: self.upto < len(self.entered))
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        upto = data.draw(st.integers(self.upto, len(self.entered)))
        bad = data.draw(st.sets(st.sampled_from(range(self.upto, len(self.entered)))))
        bad = {at for at in bad if self.entered[at] not in self.rejected}
        self.rejected |= {self.entered[at] for at in bad}
        self.upto = upto
        self.inbox.settle(FIRST + upto, [told(FIRST + at, "rejected") for at in sorted(bad)])

    @rule(seconds=st.integers(1, 4))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.inbox.expire(self.now)

    @invariant()
    def answers_are_true(self) -> None:
        done = set(self.entered[: self.upto])
        for tag, events, one in self.known:
            names = [f"{tag}{n}" for n in range(events)]
            if not one.answer.done():
                assert not done.issuperset(names)
                assert one.deadline > self.now
            elif (exceptions := answered(one)) is not None:
                assert isinstance(exceptions, dict)
                assert done.issuperset(names)
                assert {names[at] for at in exceptions} == self.rejected & set(names)

    @invariant()
    def counts_are_true(self) -> None:
        # Sizes of what is queued whole; a request that is half in counts until it is in.
        assert self.inbox.events >= 0
        assert self.inbox.bytes >= 0
        assert (self.inbox.events == 0) == (not self.inbox.arrived.is_set())
        assert len(self.entered) == len(set(self.entered))


Model.TestCase.settings = settings(deadline=None, max_examples=100)
TestModel = Model.TestCase
