"""Rows before and after the close: they count up, and the last one has everything."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.testing import FakeClock
from streamd_windows import SessionStage, SlidingStage, TumblingStage, stage
from tests.plugins.streamd_windows import model
from tests.plugins.streamd_windows.harness import Partitions, Run, make
from tests.plugins.streamd_windows.strategies import SLACK, partitions, seeds

LATENESS = 8_000
KINDS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "tumbling": (TumblingStage, {"size": "10s"}, {"size": 10_000, "slide": 10_000}),
    "sliding": (SlidingStage, {"size": "15s", "slide": "6s"}, {"size": 15_000, "slide": 6_000}),
    "session": (SessionStage, {"gap": "4s"}, {"gap": 4_000}),
}
triggers = st.fixed_dictionaries(
    {"early_every": st.sampled_from(["0s", "2s"]), "panes": st.sampled_from(["keep", "replace"])},
    optional={"early_events": st.integers(1, 4)},
)


@pytest.mark.parametrize("rows", [1, 50_000])
@pytest.mark.parametrize("kind", KINDS)
@given(streams=partitions(disorder=15_000), random=seeds, own=triggers)
@settings(max_examples=25, deadline=None)
def test_rows_of_a_window_count_up(
    kind: str, rows: int, streams: Partitions, random: Random, own: dict[str, Any]
) -> None:
    cls, length, sizes = KINDS[kind]
    if kind == "session":
        own.pop("early_events", None)

    def build(clock: FakeClock) -> Any:
        return make(
            cls,
            clock,
            key=["k"],
            out_of_orderness="5s",
            allowed_lateness="8s",
            idle_after="0s",
            max_future="1000d",
            aggregate={"n": "count()"},
            context={"readable": frozenset({"w.late"})},
            **length,
            **own,
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "MAX_ROWS", rows)  # with other events between a window's rows
        run = Run(build, streams, random)
        while run.step():
            run.clock.advance(random.choice([0, 1, 3]))
        for _ in range(150):
            run.finish()
    shown = defaultdict(list)
    for row in run.sink.order:
        shown[row["start"], row["end"], row["key"]["k"]].append(row)
    ask = model.sessions if kind == "session" else model.windows
    held, late = ask(model.seen(run.trace, streams, SLACK), **sizes, lateness=LATENESS)
    assert len(run.sink.late) == len(late)
    for where, events in held.items():
        assert shown[where][-1]["n"] == len(events)
    if kind != "session":  # which may grow, or be two before they are one
        assert shown.keys() == held.keys()
        for found in shown.values():
            assert [row["pane"] for row in found] == list(range(len(found)))
            assert [row["n"] for row in found] == sorted(row["n"] for row in found)
            ids = {row["id"] for row in found}
            assert len(ids) == (1 if own["panes"] == "replace" else len(found))
