"""A window that reads the results of another one: minutes of tens of seconds, with crashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.api import Batch, Rejects
from streamd.testing import FakeClock, stage_context
from streamd_windows import TumblingStage, stage
from tests.plugins.streamd_windows.harness import START, Partitions, Sink, Store, batch, converted
from tests.plugins.streamd_windows.strategies import partitions, seeds

COMMON = {"max_future": "1000d"}
TENS = {"size": "10s", "key": ["k"], "out_of_orderness": "5s", "aggregate": {"n": "count()"}}
MINUTES = {
    "size": "60s",
    "key": ["key.k"],
    "time": "start",
    "out_of_orderness": "0s",
    "aggregate": {"n": "sum(n)"},
}


class Chain:
    """Both stages with one store each, restarted together."""

    def __init__(self, streams: Partitions, random: Random) -> None:
        self.streams, self.random = streams, random
        self.clock = FakeClock(START)
        self.sink = Sink(steady=False)  # silence closes windows by the clock
        self.stores = Store(), Store()
        self.stored = dict.fromkeys(streams, 0)
        self.active = 0.0
        self.start()

    def start(self) -> None:
        self.clock.advance(1)
        self.tens, self.minutes = [
            TumblingStage(
                converted(TumblingStage, {**COMMON, **own}),
                stage_context("window", stage=name, clock=self.clock, inputs=(read,)),
            )
            for name, read, own in (("tens", "main", TENS), ("minutes", "tens", MINUTES))
        ]
        for each, store in zip((self.tens, self.minutes), self.stores, strict=True):
            each.assign(list(self.streams), [(p, key, data) for (p, key), data in store.items()])
        self.positions = dict(self.stored)
        self.tick()

    def checkpoint(self) -> None:
        for each, store in zip((self.tens, self.minutes), self.stores, strict=True):
            for name, key, data in each.take_changes():
                if data is None:
                    del store[name, key]
                else:
                    store[name, key] = data
        self.stored = dict(self.positions)

    def hand_on(self, results: Iterable[Batch | Rejects]) -> None:
        for result in results:
            assert isinstance(result, Batch), "nothing is late"
            self.sink.take(self.minutes.process(result))

    def tick(self) -> None:
        self.hand_on(self.tens.tick(self.active))
        self.sink.take(self.minutes.tick(self.active))

    def read(self, name: str) -> None:
        first = self.positions[name]
        events = self.streams[name][first : first + self.random.randint(1, 8)]
        self.hand_on(self.tens.process(batch(events, name, first)))
        self.positions[name] = first + len(events)
        self.tick()

    def run(self, often: float) -> Sink:
        crashes = 4
        while left := [n for n, at in self.positions.items() if at < len(self.streams[n])]:
            what = self.random.random()
            if what < 0.15:
                self.checkpoint()
            elif what < 0.15 + often and crashes:
                crashes -= 1
                self.start()
            else:
                self.read(self.random.choice(left))
        self.clock.now += 10_000_000_000
        for _ in range(100):
            self.active += 50.0
            self.tick()
        return self.sink


@pytest.mark.parametrize("rows", [1, 50_000])
@given(streams=partitions(span=12_000), random=seeds, often=st.floats(0, 0.2))
@settings(max_examples=40, deadline=None)
def test_no_result_makes_another_one_late(
    rows: int, streams: Partitions, random: Random, often: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "MAX_ROWS", rows)
        sink = Chain(streams, random).run(often)
    assert not sink.rejects
    counted: Counter[Any] = Counter()
    for events in streams.values():
        for event in events:
            time = START + event.time
            counted[time - time % 60_000, event.key] += 1
    assert {(row["start"], row["key"]["k"]): row["n"] for row in sink.rows.values()} == counted
