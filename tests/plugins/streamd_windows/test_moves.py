"""Partitions whose keys are their own move between two processes, which crash now and then."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.api import Batch
from streamd.testing import FakeClock
from streamd_windows import SessionStage, SlidingStage, TumblingStage, stage
from tests.plugins.streamd_windows import model
from tests.plugins.streamd_windows.harness import (
    START,
    Event,
    Partitions,
    Sink,
    Store,
    batch,
    drive,
    make,
)
from tests.plugins.streamd_windows.strategies import SLACK, partitions, seeds

KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tumbling": (TumblingStage, {"size": "10s"}),
    "sliding": (SlidingStage, {"size": "15s", "slide": "6s"}),
    "session": (SessionStage, {"gap": "4s"}),
}


class Group:
    """Two processes that share partitions, a store and a sink."""

    def __init__(self, kind: str, streams: Partitions, random: Random, **own: Any) -> None:
        self.kind, self.streams, self.random, self.own = kind, streams, random, own
        self.clock = FakeClock(START)
        self.sink, self.store = Sink(steady=False), Store()
        self.stored = dict.fromkeys(streams, 0)
        self.positions = dict(self.stored)
        self.owner = {name: random.randint(0, 1) for name in streams}
        self.stages: list[Any] = [None, None]
        for process in (0, 1):
            self.start(process)

    def start(self, process: int) -> None:
        cls, settings_ = KINDS[self.kind]
        self.clock.advance(1)
        self.stages[process] = make(
            cls,
            self.clock,
            key=["k"],
            aligned=True,
            out_of_orderness="5s",
            idle_after="0s",
            max_future="1000d",
            aggregate={"all": "collect(v, 99)"},
            context={"readable": frozenset({"w.late"})},
            **settings_,
            **self.own,
        )
        self.take(process, [name for name, owner in self.owner.items() if owner == process])

    def take(self, process: int, names: list[str]) -> None:
        """Assign partitions: what the store has of them, and where it was."""
        for name in names:
            self.owner[name], self.positions[name] = process, self.stored[name]
        rows = [(name, key, data) for (name, key), data in self.store.items() if name in names]
        self.stages[process].assign(names, rows)
        self.tick(process)

    def tick(self, process: int, active: float = 0.0) -> None:
        self.sink.take(self.stages[process].tick(active))

    def checkpoint(self, process: int) -> None:
        for name, key, data in self.stages[process].take_changes():
            if data is None:
                del self.store[name, key]
            else:
                self.store[name, key] = data
        self.stored |= {n: self.positions[n] for n, owner in self.owner.items() if owner == process}

    def move(self, name: str) -> None:
        process = self.owner[name]
        self.checkpoint(process)
        self.stages[process].revoke([name])
        self.take(1 - process, [name])

    def read(self, name: str) -> None:
        first, process = self.positions[name], self.owner[name]
        events = self.streams[name][first : first + self.random.randint(1, 8)]
        self.sink.take(self.stages[process].process(batch(events, name, first)))
        self.positions[name] = first + len(events)
        if self.random.random() < 0.7:
            self.tick(process)

    def run(self) -> Sink:
        crashes = 4
        names = list(self.streams)
        while left := [n for n in names if self.positions[n] < len(self.streams[n])]:
            what = self.random.random()
            if what < 0.15:
                self.checkpoint(self.random.randint(0, 1))
            elif what < 0.3:
                self.move(self.random.choice(names))
            elif what < 0.36 and crashes:
                crashes -= 1
                self.start(self.random.randint(0, 1))
            else:
                self.read(self.random.choice(left))
        self.clock.now += 10_000_000_000
        for process in (0, 1):
            for number in range(1, 150):
                self.tick(process, number * 1_000.0)
            self.checkpoint(process)
        return self.sink


@st.composite
def moving(draw: st.DrawFn) -> Partitions:
    """Partitions with keys of their own. Those of the first may be late, all others are not."""
    found = {f"e:{n}": es for n, es in enumerate(draw(partitions()).values(), start=1)}
    found["e:0"] = draw(partitions(disorder=40_000, most=1))["e:0"]
    return {
        name: [e._replace(key=f"{name} {e.key}", value=f"{name} {n}") for n, e in enumerate(events)]
        for name, events in found.items()
    }


def moves_change_nothing(
    kind: str, rows: int, lateness: int, streams: Partitions, random: Random
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "MAX_ROWS", rows)  # a window is emitted over several calls
        group = Group(kind, streams, random, allowed_lateness=f"{lateness}ms")
        group_sink = group.run()
    assert all(event["v"].startswith("e:0") for event in group_sink.late)
    shown = {(row["start"], row["end"], row["key"]["k"]): row for row in group_sink.rows.values()}
    for name in streams.keys() - {"e:0"}:
        seen = model.seen([(name, 0, streams[name])], [name], SLACK)
        if kind == "session":
            held, late = model.sessions(seen, 4_000, lateness)
        else:
            sizes = (10_000, 10_000) if kind == "tumbling" else (15_000, 6_000)
            held, late = model.windows(seen, *sizes, lateness)
        assert not late
        of = {(name, n): event.value for n, event in enumerate(streams[name])}
        for where, events in held.items():
            assert shown[where]["all"] == model.values(events, of)
    assert len(group.store) <= len(streams), "what is over leaves nothing"


@pytest.mark.parametrize("lateness", [0, 8_000])
@pytest.mark.parametrize("rows", [1, 50_000])
@pytest.mark.parametrize("kind", KINDS)
@given(streams=moving(), random=seeds)
@settings(max_examples=10, deadline=None)
def test_moves_change_nothing(
    kind: str, rows: int, lateness: int, streams: Partitions, random: Random
) -> None:
    moves_change_nothing(kind, rows, lateness, streams, random)


def test_what_a_faster_clock_has_closed_stays_closed() -> None:
    """A partition comes from a machine whose clock is ahead: its events count in open windows."""
    sink, clocks = Sink(), (FakeClock(START + 100_000), FakeClock(START + 60_000))
    first, second = [
        make(TumblingStage, clock, size="10s", key=["k"], time="processing", aligned=True)
        for clock in clocks
    ]
    first.assign(["e:0"], [])
    sink.take(first.process(batch([Event(0, "a")])))
    clocks[0].advance(20)
    sink.take(first.tick(0.0))
    second.assign(["e:0"], [(p, key, data) for p, key, data in first.take_changes() if data])
    sink.take(second.process(batch([Event(0, "b")], first=1)))
    clocks[1].advance(100)
    sink.take(second.tick(0.0))
    assert [row["key"]["k"] for row in sink.order] == ["a", "b"]


def restarted(*batches: Batch, partitions: Sequence[str]) -> int:
    """The offset of the first result after a restart."""
    stages = [make(TumblingStage, size="10s", key=["k"], max_future="1000d") for _ in range(2)]
    stages[0].assign(partitions, [])
    drive(stages[0], *batches)
    stages[1].assign(partitions, [(p, k, data) for p, k, data in stages[0].take_changes() if data])
    results = [
        result
        for name in partitions
        for result in stages[1].process(batch([Event(90_000, "a")], name, first=99))
    ]
    (offset,) = {result.offsets[0] for result in results}
    assert isinstance(offset, int)
    return offset


def test_offsets_start_anew_where_a_replay_may_differ() -> None:
    """What is late may depend on the turns that partitions take: then a sink that skips offsets
    which it has would leave out results that it has not."""
    events = [batch([Event(40_000, "a")]), batch([Event(1_000, "a")], first=1)]
    assert restarted(*events, partitions=["e:0"]) == 0
    two = [batch([Event(41_000, "b")], "e:1"), *events]
    assert restarted(two[0], two[1], partitions=["e:0", "e:1"]) == 0
    assert restarted(*two, partitions=["e:0", "e:1"]) > 1 << 50


@pytest.mark.soak
@pytest.mark.parametrize("lateness", [0, 8_000])
@pytest.mark.parametrize("rows", [1, 50_000])
@pytest.mark.parametrize("kind", KINDS)
@given(streams=moving(), random=seeds)
@settings(max_examples=1_000, deadline=None)
def test_moves_change_nothing_in_thousands_of_runs(
    kind: str, rows: int, lateness: int, streams: Partitions, random: Random
) -> None:
    moves_change_nothing(kind, rows, lateness, streams, random)
