"""What waits for a partner: who goes first, who is found, what the state forgets."""

from __future__ import annotations

from random import Random
from typing import Any
from weakref import ref

from hypothesis import given
from hypothesis import strategies as st

from streamd_windows import JoinStage
from streamd_windows.join_buffer import LEFT, RIGHT, JoinBuffer
from streamd_windows.join_queue import Held, JoinQueue, event_time
from tests.plugins.streamd_windows.harness import Event, Sink, batch, make
from tests.plugins.streamd_windows.strategies import seeds

WITHIN = 1_000


class Value:
    """Something that can be referred to weakly."""


acts = st.lists(
    st.tuples(st.sampled_from(["push", "push", "take", "kill", "sweep"]), st.integers(0, 2_000)),
    max_size=60,
)


@given(acts, seeds)
def test_what_waits_longest_goes_first(acts: list[tuple[str, int]], random: Random) -> None:
    """Against a plain list: also for events that come behind what has gone already."""
    queue, waiting = JoinQueue(WITHIN), list[Held]()
    for act, number in acts:
        if act == "push":
            events = [Held(LEFT, "k", random.randrange(number + 1), n) for n in range(number % 7)]
            queue.push(events)
            waiting += events
        elif act == "take":
            limit = random.choice([1, 3, 1_000])
            taken = queue.take(number, limit)
            due = sorted(held.time for held in waiting if held.time < number)[:limit]
            assert [held.time for held in taken] == due
            waiting = [held for held in waiting if not any(held is one for one in taken)]
        elif act == "kill" and waiting:
            waiting.pop(random.randrange(len(waiting))).dead = True
        elif act == "sweep":
            queue.sweep()
        assert sorted(held.time for held in queue) == sorted(held.time for held in waiting)


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 3_000)), max_size=60),
    st.integers(1, 20),
)
def test_a_full_key_lets_its_earliest_event_go(
    given_: list[tuple[int, int, int]], most: int
) -> None:
    buffer = JoinBuffer(WITHIN, most)
    kept: dict[tuple[int, int], list[Held]] = {}
    for side, key, time in given_:
        held = Held(side, key, time, None)
        others = kept.get((1 - side, key), [])
        assert buffer.pairs(side, [held]) == [
            (held, other) for other in others if abs(other.time - time) <= WITHIN
        ]
        mine = kept.setdefault((side, key), [])
        mine.append(held)
        mine.sort(key=event_time)
        assert buffer.add(side, [held]) == ([mine.pop(0)] if len(mine) > most else [])
    assert len(buffer) == len(list(buffer)) == sum(map(len, kept.values()))
    gone = buffer.before(1_500, 1_000)
    assert [held.time for held in gone] == sorted(held.time for held in gone)
    left = [held for mine in kept.values() for held in mine if held.time >= 1_500]
    found = {
        id(one)
        for key in (0, 1)
        for side in (0, 1)
        for t in (1_500, 2_500, 3_500)
        for _, one in buffer.pairs(side, [Held(side, key, t, None)])
    }
    assert found == {id(held) for held in left}
    buffer.before(float("inf"), 1_000)
    assert len(buffer) == 0
    assert buffer.pairs(LEFT, [Held(LEFT, key, 0, None) for key in range(4)]) == []


def test_what_a_full_key_lets_go_does_not_stay_in_memory() -> None:
    buffer = JoinBuffer(within=1_000_000, max_per_key=10)
    refs = []
    for time in range(10_000):
        value = Value()
        refs.append(ref(value))
        buffer.add(LEFT, [Held(LEFT, "k", time, value)])
    del value
    assert len(buffer) == 10
    assert sum(one() is not None for one in refs) < 2_000


def test_events_that_come_and_go_between_two_checkpoints_are_not_held() -> None:
    """They are over before the store hears of them."""
    names: dict[str, Any] = {"left": "clicks", "right": "orders", "on": ["k"], "within": "1s"}
    stage = make(JoinStage, **names, out_of_orderness="0s", max_future="9999d")
    sink = Sink()
    for number in range(100):
        for side, stream in enumerate(("clicks", "orders")):
            first = (2 * number + side) * 100
            events = [Event(number * 1_000 + n, f"k{n}", n, stream) for n in range(100)]
            sink.take(stage.process(batch(events, first=first)))
        sink.take(stage.tick(0.0))
    body = stage._slices["e:0"].body
    assert len(sink.order) > 10_000
    assert len(body._new) < 3_000
    (name, data), _ = [(key, value) for _, key, value in stage.take_changes()]
    assert data is not None
    assert len(data) < 100 * 600, "what is alive"
    assert name


def test_sides_are_two() -> None:
    buffer = JoinBuffer(WITHIN)
    buffer.add(LEFT, [Held(LEFT, "k", 0, None)])
    assert buffer.pairs(LEFT, [Held(LEFT, "k", 0, None)]) == []
    assert len(buffer.pairs(RIGHT, [Held(RIGHT, "k", WITHIN, None)])) == 1
    assert buffer.pairs(RIGHT, [Held(RIGHT, "k", WITHIN + 1, None)]) == []
