"""Joins against SQL, with crashes, turns and disorder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.testing import FakeClock
from streamd_windows import JoinStage
from tests.plugins.streamd_windows import oracle
from tests.plugins.streamd_windows.harness import START, Partitions, Run, Sink, make
from tests.plugins.streamd_windows.strategies import partitions, seeds

KINDS = ["inner", "left", "right", "full"]


def build(kind: str, **limits: int) -> Callable[[FakeClock], Any]:
    def make_one(clock: FakeClock) -> Any:
        return make(
            JoinStage,
            clock,
            left="left",
            right="right",
            on=["k"],
            within="7s",
            kind=kind,
            max_future="1000d",
            **limits,
        )

    return make_one


def shown(sink: Sink) -> list[tuple[Any, ...]]:
    """Values of left and right; numbers of the events, see `numbered`."""
    return sorted(
        (
            (row["left"] and row["left"]["v"], row["right"] and row["right"]["v"])
            for row in sink.rows.values()
        ),
        key=repr,
    )


def numbered(streams: Partitions) -> Partitions:
    """The same events with a value that tells each from all others."""
    return {
        name: [event._replace(value=f"{name}/{n}") for n, event in enumerate(events)]
        for name, events in streams.items()
    }


two_streams = partitions(streams=("left", "right")).map(numbered)


@pytest.mark.parametrize("kind", KINDS)
@given(streams=two_streams, random=seeds)
@settings(max_examples=40, deadline=None)
def test_is_what_sql_says(kind: str, streams: Partitions, random: Random) -> None:
    sink = Run(build(kind), streams, random).whole()
    assert shown(sink) == oracle.pairs(oracle.load(streams), 7_000, kind)
    assert len(sink.order) == len(sink.rows), "each result comes once"
    assert not sink.rejects


@pytest.mark.parametrize("kind", KINDS)
@given(streams=two_streams, random=seeds, often=st.floats(0.05, 0.4))
@settings(max_examples=40, deadline=None)
def test_crashes_change_nothing(
    kind: str, streams: Partitions, random: Random, often: float
) -> None:
    crashed = Run(build(kind), streams, random).whole(crashes=often, checkpoints=0.4)
    assert crashed.rows == Run(build(kind), streams, Random(0)).whole().rows


@given(streams=two_streams, random=seeds, often=st.floats(0, 0.3), most=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_limits_hold_and_lose_nothing(
    streams: Partitions, random: Random, often: float, most: int
) -> None:
    per_key = random.randint(1, 3)
    run = Run(build("full", max_events=most, max_per_key=per_key), streams, random)
    while run.step():
        windower: Any = run.stage._windower
        held = list(windower._buffer)
        assert len(held) <= most
        assert max(Counter((one.side, one.key) for one in held if one.key).values(), default=0) <= (
            per_key
        )
        if random.random() < 0.4:
            run.checkpoint()
        if random.random() < often:
            run.restart()
    run.finish()
    results = [side["v"] for row in run.sink.order for side in (row["left"], row["right"]) if side]
    assert set(results) == {event.value for events in streams.values() for event in events}


@given(streams=two_streams, random=seeds)
@settings(max_examples=25, deadline=None)
def test_what_is_over_leaves_nothing(streams: Partitions, random: Random) -> None:
    run = Run(build("full"), streams, random)
    run.whole(checkpoints=0.3)
    run.finish()
    run.checkpoint()
    assert len(run.store) <= len(streams)
    assert run.stage._windower.horizon() is None


@given(streams=two_streams, random=seeds)
@settings(max_examples=25, deadline=None)
def test_a_row_tells_how_far_apart(streams: Partitions, random: Random) -> None:
    for row in Run(build("inner"), streams, random).whole().rows.values():
        left, right = row["left"]["t"], row["right"]["t"]
        assert row["time_diff"] == right - left
        assert (row["start"], row["end"]) == (min(left, right), max(left, right))
        assert row["start"] >= START - 60_000
