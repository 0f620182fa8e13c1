"""Tumbling, sliding and session windows against SQL, with crashes, turns and disorder."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.testing import FakeClock
from streamd_windows import SessionStage, SlidingStage, TumblingStage
from streamd_windows.stage import WindowStage
from tests.plugins.streamd_windows import oracle
from tests.plugins.streamd_windows.harness import Event, Partitions, Run, Sink, make
from tests.plugins.streamd_windows.strategies import SLACK, partitions, seeds

Build = Callable[[FakeClock], WindowStage]

SETTINGS: dict[str, Any] = {
    "key": ["k"],
    "out_of_orderness": "5s",
    "max_future": "1000d",
    "aggregate": {
        "n": "count()",
        "sum": "sum(v)",
        "min": "min(v)",
        "max": "max(v)",
        "distinct": "distinct(v)",
        "avg": "avg(v)",
        "first": "first(v)",
        "last": "last(v)",
        "all": "collect(v, 1000)",
        "top": "top_k(v, 3)",
        "p": "percentiles(v, 50, 90)",
    },
}


def tumbling(clock: FakeClock) -> WindowStage:
    return make(TumblingStage, clock, size="10s", **SETTINGS)  # type: ignore[no-any-return]


def sliding(clock: FakeClock) -> WindowStage:
    return make(SlidingStage, clock, size="15s", slide="6s", **SETTINGS)  # type: ignore[no-any-return]


def session(clock: FakeClock) -> WindowStage:
    return make(SessionStage, clock, gap="4s", **SETTINGS)  # type: ignore[no-any-return]


KINDS: dict[Build, Callable[[Any], oracle.Answer]] = {
    tumbling: lambda db: oracle.windows(db, 10_000, 10_000),
    sliding: lambda db: oracle.windows(db, 15_000, 6_000),
    session: lambda db: oracle.sessions(db, 4_000),
}


def agree(rows: dict[str, dict[str, Any]], answer: oracle.Answer, *, once: bool = True) -> None:
    shown = {(row["start"], row["end"], row["key"]["k"]): row for row in rows.values()}
    assert len(shown) == len(rows), "one id per window and key"
    assert shown.keys() == answer.keys()
    for where, row in shown.items():
        count, total, least, most, distinct, average = answer[where]
        assert row["n"] == count
        assert row["min"] == least
        assert row["max"] == most
        assert row["distinct"] == distinct
        assert math.isclose(row["sum"], total or 0, rel_tol=1e-9, abs_tol=1e-3)
        if average is None:
            assert row["avg"] is None
        else:
            assert math.isclose(row["avg"], average, rel_tol=1e-9, abs_tol=1e-3)
        if once:
            assert row["pane"] == 0
            assert row["watermark"] == row["end"]


def uninterrupted(build: Build, streams: Partitions) -> Sink:
    return Run(build, streams, Random(0)).whole()


@pytest.mark.parametrize("build", KINDS, ids=lambda build: build.__name__)
@given(streams=partitions(), random=seeds)
@settings(max_examples=50, deadline=None)
def test_is_what_sql_says(build: Build, streams: Partitions, random: Random) -> None:
    sink = Run(build, streams, random).whole()
    agree(sink.rows, KINDS[build](oracle.load(streams)))
    assert not sink.rejects
    assert len(sink.order) == len(sink.rows), "each result comes once"


@pytest.mark.parametrize("build", KINDS, ids=lambda build: build.__name__)
@given(streams=partitions(), random=seeds, often=st.floats(0.05, 0.5))
@settings(max_examples=60, deadline=None)
def test_crashes_change_nothing(
    build: Build, streams: Partitions, random: Random, often: float
) -> None:
    crashes_change_nothing(build, streams, random, often)


@pytest.mark.soak
@pytest.mark.parametrize("build", KINDS, ids=lambda build: build.__name__)
@given(streams=partitions(), random=seeds, often=st.floats(0.05, 0.5))
@settings(max_examples=3_000, deadline=None)
def test_crashes_change_nothing_in_thousands_of_runs(
    build: Build, streams: Partitions, random: Random, often: float
) -> None:
    crashes_change_nothing(build, streams, random, often)
    agree(Run(build, streams, random).whole().rows, KINDS[build](oracle.load(streams)))


def crashes_change_nothing(build: Build, streams: Partitions, random: Random, often: float) -> None:
    crashed = Run(build, streams, random).whole(crashes=often, checkpoints=0.4)
    # Bit for bit, ids and floats included: the sums do not depend on order or cuts.
    assert crashed.rows == uninterrupted(build, streams).rows
    assert not crashed.rejects


@pytest.mark.parametrize("build", KINDS, ids=lambda build: build.__name__)
@given(streams=partitions(), random=seeds)
@settings(max_examples=25, deadline=None)
def test_what_is_over_leaves_nothing(build: Build, streams: Partitions, random: Random) -> None:
    run = Run(build, streams, random)
    run.whole(checkpoints=0.3)
    # One row per partition is left, its time and its sequence.
    assert len(run.store) <= len(streams)
    assert run.stage._windower.horizon() is None


@given(streams=partitions(disorder=40_000, most=1), random=seeds, often=st.floats(0, 0.3))
@settings(max_examples=60, deadline=None)
def test_late_events_of_one_partition_are_late_in_every_run(
    streams: Partitions, random: Random, often: float
) -> None:
    sink = Run(tumbling, streams, random).whole(crashes=often, checkpoints=0.4)
    gone = [(name, o) for name, es in streams.items() for o in oracle.late(es, 10_000, SLACK)]
    agree(sink.rows, oracle.windows(oracle.load(streams, gone), 10_000, 10_000))
    assert {reject.reason for reject in sink.rejects} <= {"late"}
    assert bool(gone) == bool(sink.rejects)


@pytest.mark.parametrize("build", KINDS, ids=lambda build: build.__name__)
@given(streams=partitions(disorder=40_000, most=1), random=seeds, often=st.floats(0, 0.3))
@settings(max_examples=50, deadline=None)
def test_one_partition_gives_the_same_however_it_is_cut(
    build: Build, streams: Partitions, random: Random, often: float
) -> None:
    sink = Run(build, streams, random).whole(crashes=often, checkpoints=0.4)
    assert sink.rows == uninterrupted(build, streams).rows


CORRECTED: dict[str, Any] = {**SETTINGS, "allowed_lateness": "60s", "early_events": 3}


def corrected_tumbling(clock: FakeClock) -> WindowStage:
    return make(TumblingStage, clock, size="10s", **CORRECTED)  # type: ignore[no-any-return]


def corrected_sliding(clock: FakeClock) -> WindowStage:
    return make(SlidingStage, clock, size="15s", slide="6s", **CORRECTED)  # type: ignore[no-any-return]


CORRECTED_KINDS: dict[Build, tuple[int, int]] = {
    corrected_tumbling: (10_000, 10_000),
    corrected_sliding: (15_000, 6_000),
}


@pytest.mark.parametrize("build", CORRECTED_KINDS, ids=lambda build: build.__name__)
@given(streams=partitions(disorder=40_000), random=seeds, often=st.floats(0, 0.3))
@settings(max_examples=60, deadline=None)
def test_what_stays_after_corrections_is_what_sql_says(
    build: Build, streams: Partitions, random: Random, often: float
) -> None:
    what_stays_is_what_sql_says(build, streams, random, often)


@pytest.mark.soak
@pytest.mark.parametrize("build", CORRECTED_KINDS, ids=lambda build: build.__name__)
@given(streams=partitions(disorder=40_000), random=seeds, often=st.floats(0, 0.3))
@settings(max_examples=3_000, deadline=None)
def test_what_stays_after_corrections_in_thousands_of_runs(
    build: Build, streams: Partitions, random: Random, often: float
) -> None:
    what_stays_is_what_sql_says(build, streams, random, often)


# The key c is in e:1 first; an event of e:0 then corrects it, which owns it from there on.
MOVES_ITS_OWNER = {
    "e:0": [
        *(Event(time, "a", 0) for time in (300, 795, *[2_222] * 9, 5_111, 8_000)),
        Event(2_999, "c", 0),
        *[Event(8_000, "a", 0)] * 11,
    ],
    "e:1": [
        *(Event(time, "a", 0) for time in (263, 1_307)),
        Event(2_364, "c", 0),
        *(Event(time, "a", 0) for time in (5_166, *[8_000] * 4)),
    ],
}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("build", CORRECTED_KINDS, ids=lambda build: build.__name__)
def test_a_correction_stays_when_it_moves_a_key_to_another_partition(
    build: Build, seed: int
) -> None:
    what_stays_is_what_sql_says(build, MOVES_ITS_OWNER, Random(seed), 0.0)


def what_stays_is_what_sql_says(
    build: Build, streams: Partitions, random: Random, often: float
) -> None:
    sink = Run(build, streams, random).whole(crashes=often, checkpoints=0.4)
    answer = oracle.windows(oracle.load(streams), *CORRECTED_KINDS[build])
    agree(sink.rows, answer, once=False)
    assert not sink.rejects
