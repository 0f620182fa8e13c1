"""Events far behind their time, against a model that takes them one by one."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.testing import FakeClock
from streamd_windows import JoinStage, SessionStage, SlidingStage, TumblingStage
from tests.plugins.streamd_windows import model
from tests.plugins.streamd_windows.harness import START, Event, Partitions, Run, batch, drive, make
from tests.plugins.streamd_windows.strategies import SLACK, partitions, seeds

KINDS: dict[str, tuple[Any, dict[str, Any], Callable[..., Any]]] = {
    "tumbling": (
        TumblingStage,
        {"size": "10s"},
        lambda e, late: model.windows(e, 10_000, 10_000, late),
    ),
    "sliding": (
        SlidingStage,
        {"size": "15s", "slide": "6s"},
        lambda e, late: model.windows(e, 15_000, 6_000, late),
    ),
    "session": (SessionStage, {"gap": "4s"}, lambda e, late: model.sessions(e, 4_000, late)),
}


def build(kind: str, lateness: int) -> Callable[[FakeClock], Any]:
    cls, own, _ = KINDS[kind]

    def make_one(clock: FakeClock) -> Any:
        return make(
            cls,
            clock,
            key=["k"],
            out_of_orderness="5s",
            allowed_lateness=f"{lateness}ms",
            idle_after="0s",
            max_future="1000d",
            aggregate={
                "n": "count()",
                "first": "first(v)",
                "last": "last(v)",
                "all": "collect(v, 99)",
            },
            context={"readable": frozenset({"w.late"})},
            **own,
        )

    return make_one


def numbered(streams: Partitions) -> Partitions:
    """The same events with a value that tells each from all others."""
    return {
        name: [event._replace(value=1_000 * at + n) for n, event in enumerate(events)]
        for at, (name, events) in enumerate(streams.items())
    }


def is_what_the_model_says(
    kind: str, lateness: int, streams: Partitions, random: Random, crashes: float
) -> None:
    run = Run(build(kind, lateness), streams, random)
    sink = run.whole(crashes=crashes, checkpoints=0.3)
    # A crash repeats polls. What a single partition gives does not depend on the cuts.
    trace = [(name, 0, events) for name, events in streams.items()] if crashes else run.trace
    held, late = KINDS[kind][2](model.seen(trace, streams, SLACK), lateness)
    of = {(p, n): event.value for p, events in streams.items() for n, event in enumerate(events)}
    assert {event["v"] for event in sink.late} == {of[place] for place in late}
    rows = {(row["start"], row["end"], row["key"]["k"]): row for row in sink.rows.values()}
    # A session that grew has also been emitted as it was before.
    assert rows.keys() >= held.keys() if kind == "session" else rows.keys() == held.keys()
    for where, events in held.items():
        wanted = model.values(events, of)
        shown = [rows[where][name] for name in ("n", "all", "first", "last")]
        assert shown == [len(wanted), wanted, wanted[0], wanted[-1]], where


@pytest.mark.parametrize("lateness", [0, 3_000, 12_000])
@pytest.mark.parametrize("kind", KINDS)
@given(streams=partitions(disorder=40_000).map(numbered), random=seeds)
@settings(max_examples=15, deadline=None)
def test_each_event_counts_where_its_time_allows(
    kind: str, lateness: int, streams: Partitions, random: Random
) -> None:
    is_what_the_model_says(kind, lateness, streams, random, 0.0)


@pytest.mark.parametrize("lateness", [0, 8_000])
@pytest.mark.parametrize("kind", KINDS)
@given(streams=partitions(disorder=40_000, most=1).map(numbered), random=seeds)
@settings(max_examples=15, deadline=None)
def test_also_after_crashes(kind: str, lateness: int, streams: Partitions, random: Random) -> None:
    is_what_the_model_says(kind, lateness, streams, random, 0.2)


@pytest.mark.soak
@pytest.mark.parametrize("crashes", [0.0, 0.2])
@pytest.mark.parametrize("lateness", [0, 3_000, 12_000])
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), random=seeds)
@settings(max_examples=2_000, deadline=None)
def test_in_thousands_of_runs(
    kind: str, lateness: int, crashes: float, data: st.DataObject, random: Random
) -> None:
    streams = data.draw(partitions(disorder=40_000, most=1 if crashes else 3).map(numbered))
    is_what_the_model_says(kind, lateness, streams, random, crashes)


def test_a_late_event_inside_a_session_corrects_it() -> None:
    stage = build("session", 60_000)(FakeClock(START))
    sink = drive(
        stage,
        batch([Event(1_000, "a"), Event(4_000, "a")]),
        batch([Event(30_000, "b")], first=2),
        batch([Event(2_000, "a")], first=3),
    )
    assert [(row["pane"], row["n"]) for row in sink.order] == [(0, 2), (1, 3)]
    assert len(sink.rows) == 1


RAISED: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "tumbling": (TumblingStage, {"size": "10s"}, []),
    "sliding": (SlidingStage, {"size": "10s", "slide": "5s"}, []),
    "session": (SessionStage, {"gap": "5s"}, []),
    "join": (JoinStage, {"left": "main", "right": "other", "within": "1s", "kind": "full"}, ["k"]),
}


@pytest.mark.parametrize("partition", ["e:0", "e:1"])
@pytest.mark.parametrize("kind", RAISED)
def test_more_lateness_does_not_bring_back_what_has_been_forgotten(
    kind: str, partition: str
) -> None:
    """A correction made of the late event alone would replace the whole result."""
    cls, own, on = RAISED[kind]
    names = {"on": on} if on else {"key": ["k"]}
    settings_: dict[str, Any] = {"out_of_orderness": "0s", "max_future": "1000d", **own, **names}
    before = make(cls, **settings_)
    events = [Event(1_000, "a"), Event(2_000, "a"), Event(40_000, "b")]
    sink = drive(before, batch(events), batch([events[2]._replace(stream="other")], first=3))
    sink.take(before.tick(1_000.0))  # the other stream is idle
    rows = dict(sink.rows)
    assert rows
    after = make(cls, **settings_, allowed_lateness="60s")
    state = [(p, key, data) for p, key, data in before.take_changes() if data is not None]
    after.assign(["e:0", "e:1"], state)
    after.tick(0.0)
    sink.take(after.process(batch([Event(3_000, "a")], partition, first=9)))
    sink.take(after.tick(0.0))
    assert [reject.reason for reject in sink.rejects] == ["late"]
    assert sink.rows == rows
    sink.take(after.process(batch([Event(41_000, "a")], partition, first=10)))
    assert len(sink.rejects) == 1


def test_a_window_that_is_over_stays_empty() -> None:
    """The event counts in the later window that holds it, as it would if the first had a row."""
    stage = build("sliding", 0)(FakeClock(START))
    sink = drive(stage, batch([Event(20_000, "a"), Event(7_000, "a")]))
    sink.take(stage.process(batch([Event(90_000, "a")], first=2)))
    # The one from 0 to 15 was over when the second event came, and nobody had a row of it.
    ends = {(row["end"] - START): row["n"] for row in sink.order}
    assert ends == {21_000: 2, 27_000: 1, 33_000: 1}
    assert not sink.late
