"""Sessions: late events that correct them, and the calendar that finds those that are over."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd_windows import SessionStage, stage
from streamd_windows.session_calendar import Calendar
from streamd_windows.session_state import Session
from tests.plugins.streamd_windows import oracle
from tests.plugins.streamd_windows.harness import (
    START,
    Event,
    Partitions,
    Run,
    Sink,
    batch,
    drive,
    make,
)
from tests.plugins.streamd_windows.strategies import partitions, seeds

GAP = 4_000


def session(clock: Any = None, **settings: Any) -> Any:
    given = {"gap": "4s", "key": ["k"], "out_of_orderness": "0s", "max_future": "9999d", **settings}
    return make(SessionStage, clock, **given)


def shown(sink: Sink) -> list[tuple[int, int, int, int]]:
    """(start, end, both in ms after START, pane, count) in the order in which they came."""
    return [
        (row["start"] - START, row["end"] - START, row["pane"], row["count"]) for row in sink.order
    ]


def test_a_late_event_inside_a_session_that_was_emitted_corrects_it() -> None:
    """It changes neither start nor end, only what the session counts."""
    sink = drive(
        session(allowed_lateness="100s"),
        batch([Event(0, "a"), Event(2_000, "a")]),
        batch([Event(50_000, "b")], first=2),
        batch([Event(1_000, "a")], first=3),
    )
    assert shown(sink) == [(0, 6_000, 0, 2), (0, 6_000, 1, 3)]
    assert len(sink.rows) == 1


@given(streams=partitions(disorder=40_000), random=seeds, often=st.floats(0, 0.3))
@settings(max_examples=60, deadline=None)
def test_what_sql_says_is_among_what_was_corrected(
    streams: Partitions, random: Random, often: float
) -> None:
    """A session that grows gets another id: what it was before stays in the sink too."""

    def build(clock: Any) -> Any:
        return session(clock, allowed_lateness="60s", out_of_orderness="5s")

    sink = Run(build, streams, random).whole(crashes=often, checkpoints=0.4)
    found = {(row["start"], row["end"], row["key"]["k"]): row for row in sink.rows.values()}
    answer = oracle.sessions(oracle.load(streams), GAP)
    assert {where: found[where]["count"] for where in answer} == {
        where: columns[0] for where, columns in answer.items()
    }
    assert not sink.rejects


def test_what_is_held_up_in_the_middle_is_not_lost_when_a_partition_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage, "MAX_ROWS", 1)
    stage_, sink = session(), Sink()
    stage_.assign(["e:0", "e:1"], [])
    for name in ("e:0", "e:1"):
        events = [Event(number % 7, f"{name} {number}") for number in range(1_500)]
        sink.take(stage_.process(batch(events, name)))
    for name in ("e:0", "e:1"):
        sink.take(stage_.process(batch([Event(90_000, "last")], name, first=1_500)))
    stage_.assign(["e:2"], [])
    sink.take(stage_.process(batch([Event(90_000, "last")], "e:2")))
    while results := stage_.tick(0.0):
        sink.take(results)
    assert len(sink.order) == len(sink.rows) == 3_000


@given(
    st.lists(
        st.tuples(st.sampled_from(["open", "grow", "grow", "look", "end"]), st.integers(0, 3_000)),
        max_size=60,
    ),
    seeds,
)
def test_the_calendar_brings_every_session_in_time_and_in_order(
    acts: list[tuple[str, int]], random: Random
) -> None:
    """As the windower uses it: what has grown is put back, what is over comes once."""
    calendar, now, number = Calendar(GAP, 0), 0, 0
    alive: dict[int, Session] = {}

    def look(upto: int) -> None:
        came = []
        while entry := calendar.pop(upto):
            at, _, _, one = entry
            end = one.last + GAP
            if one.over:
                continue
            if end > at:
                calendar.push(end, "e:0", one)
            else:
                came.append(end)
                one.over = True
                del alive[one.number]
        assert came == sorted(came)
        assert all(one.last + GAP > upto for one in alive.values())

    for act, step in acts:
        now += step
        if act == "open":
            one = alive[number] = Session("k", now, now, number)
            calendar.push(now + GAP, "e:0", one)
            number += 1
        elif act == "look":
            look(now)
        elif alive:
            one = random.choice(list(alive.values()))
            if act == "grow":
                one.last = max(one.last, now)
            else:
                one.over = True
                del alive[one.number]
    look(now + 2 * GAP)
    assert not alive


def test_the_calendar_forgets_a_partition() -> None:
    calendar = Calendar(GAP, 0)
    for number, name in enumerate(["e:0", "e:1", "e:0", "e:1"]):
        calendar.push(GAP + number, name, Session("k", number, number, number))
    near = calendar.pop(GAP)  # its day has come
    assert near is not None
    assert near[3].number == 0
    calendar.remove("e:0")
    rest = [calendar.pop(10 * GAP), calendar.pop(10 * GAP), calendar.pop(10 * GAP)]
    assert [entry and entry[3].number for entry in rest] == [1, 3, None]
