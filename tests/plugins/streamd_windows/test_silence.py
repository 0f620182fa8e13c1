"""Silence: partitions fall idle and windows close by the clock, at any moment. Nothing is lost."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.testing import FakeClock
from streamd_windows import SessionStage, SlidingStage, TumblingStage
from tests.plugins.streamd_windows.harness import Partitions, Run, make
from tests.plugins.streamd_windows.strategies import partitions, seeds
from tests.plugins.streamd_windows.test_late_events import numbered

KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tumbling": (TumblingStage, {"size": "10s"}),
    "sliding": (SlidingStage, {"size": "12s", "slide": "4s"}),
    "session": (SessionStage, {"gap": "4s"}),
}


def run_with_pauses(
    kind: str, streams: Partitions, random: Random, often: float, **own: Any
) -> Run:
    cls, length = KINDS[kind]

    def build(clock: FakeClock) -> Any:
        return make(
            cls,
            clock,
            key=["k"],
            out_of_orderness="5s",
            idle_after="10s",
            close_idle_after="20s",
            max_future="1000d",
            aggregate={"all": "collect(v, 999)"},
            context={"readable": frozenset({"w.late"})},
            **length,
            **own,
        )

    run = Run(build, streams, random)
    run.sink.steady = False  # what is late goes by the clock
    while True:
        what = random.random()
        if what < 0.3:
            pause = random.choice([1, 5, 12, 25, 60])
            run.active += pause
            run.clock.advance(pause)
            run.sink.take(run.stage.tick(run.active))
        elif what < 0.45:
            run.checkpoint()
        elif what < 0.45 + often:
            run.restart()
        elif not run.step():
            break
    run.finish()
    run.checkpoint()
    return run


@pytest.mark.parametrize("lateness", ["0s", "8s"])
@pytest.mark.parametrize("early", ["0s", "5s"])
@pytest.mark.parametrize("kind", KINDS)
@given(streams=partitions(disorder=15_000).map(numbered), random=seeds, often=st.floats(0, 0.2))
@settings(max_examples=12, deadline=None)
def test_each_event_is_in_a_result_or_late(
    kind: str, early: str, lateness: str, streams: Partitions, random: Random, often: float
) -> None:
    own = {"early_every": early, "allowed_lateness": lateness}
    run = run_with_pauses(kind, streams, random, often, **own)
    shown = [value for row in run.sink.rows.values() for value in row["all"]]
    late = [event["v"] for event in run.sink.late]
    everything = {event.value for events in streams.values() for event in events}
    assert {*shown, *late} == everything
    assert len(run.store) <= len(streams)
    if kind == "tumbling" and not often:
        assert sorted(shown + late) == sorted(everything), "each once"
