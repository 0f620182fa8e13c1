"""The epochs by themselves: counting, order, and what is forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.api import Settlement
from streamd.engine.ledger import Cut, Ledger


def cut(**positions: int) -> Cut:
    return Cut({"in": dict(positions)}, [])


def test_an_epoch_is_complete_when_all_before_it_are() -> None:
    ledger = Ledger()
    ledger.sent(1)
    ledger.close(cut(a=1), 0)
    ledger.sent(2)
    ledger.close(cut(a=2), 0)
    ledger.done(2)
    assert ledger.completed() == []
    ledger.done(1)
    assert [epoch.number for epoch in ledger.completed()] == [1, 2]


def test_what_is_derived_keeps_its_epoch_open() -> None:
    ledger = Ledger()
    ledger.sent(1)
    ledger.close(cut(a=1), 0)
    ledger.sent(1)  # a dead letter of it, sent before it is done
    ledger.done(1)
    assert ledger.completed() == []
    ledger.done(1)
    assert [epoch.number for epoch in ledger.completed()] == [1]


def test_the_open_epoch_is_never_complete() -> None:
    ledger = Ledger()
    ledger.read(5, 50)
    assert ledger.completed() == []
    assert not ledger.idle


def test_more_done_than_sent_is_a_bug() -> None:
    ledger = Ledger()
    with pytest.raises(AssertionError):
        ledger.done(1)


def test_an_epoch_that_is_durable_takes_nothing_any_more() -> None:
    ledger = Ledger()
    ledger.close(cut(), 0)
    ledger.retire(1)
    for act in (ledger.sent, ledger.done):
        with pytest.raises(AssertionError):
            act(1)


def test_the_budget_is_freed_by_what_is_durable() -> None:
    ledger = Ledger()
    ledger.read(5, 50)
    ledger.close(cut(), 0)
    ledger.read(3, 30)
    assert (ledger.events, ledger.size) == (8, 80)
    ledger.retire(1)
    assert (ledger.events, ledger.size) == (3, 30)


def test_a_partition_that_moves_away_leaves_every_cut() -> None:
    ledger = Ledger()
    ledger.close(cut(a=1, b=1), 0)
    ledger.close(cut(a=2, b=2), 0)
    ledger.forget(["a"])
    assert [epoch.cut.positions for epoch in ledger.completed() if epoch.cut] == [
        {"in": {"b": 1}},
        {"in": {"b": 2}},
    ]


def test_exceptions_are_kept_with_their_epoch() -> None:
    ledger = Ledger()
    told = Settlement("http:0", 3, "dropped", None, None)
    ledger.read(3, 30)
    ledger.failed([1], 2, [told])
    ledger.close(cut(), 0)
    (epoch,) = ledger.completed()
    assert (epoch.failed, epoch.settlements) == (2, [told])


def test_rows_that_failed_together_are_spread_over_their_epochs() -> None:
    """A slot merges what waits: one failure can be of many epochs."""
    ledger = Ledger()
    for events in (5, 3, 4):
        ledger.read(events, 0)
        ledger.close(cut(), 0)
    ledger.failed([3, 1, 2], 10)
    assert [epoch.failed for epoch in ledger.completed()] == [5, 3, 2]
    ledger.failed([1, 2, 3], 10)
    assert [epoch.failed for epoch in ledger.completed()] == [5, 3, 4], "none fails twice"


@given(st.lists(st.sampled_from(["send", "close", "done oldest", "done newest", "retire"])))
def test_no_order_of_calls_completes_what_is_pending(calls: list[str]) -> None:
    """Against a model that keeps every batch by itself."""
    ledger = Ledger()
    pending: list[int] = []
    open_number = 1
    for call in calls:
        if call == "send":
            ledger.sent(open_number)
            pending.append(open_number)
        elif call == "close":
            assert ledger.close(cut(), 0) == open_number
            open_number += 1
        elif call.startswith("done") and pending:
            ledger.done(pending.pop(0 if call == "done oldest" else -1))
        elif call == "retire" and (complete := ledger.completed()):
            ledger.retire(complete[-1].number)
        complete_now = [epoch.number for epoch in ledger.completed()]
        first = ledger.oldest.number
        blocked = min([*pending, open_number])
        assert complete_now == list(range(first, blocked))
        assert ledger.unfinished == open_number - first
