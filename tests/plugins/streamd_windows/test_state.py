"""State: what it costs, that it leaves nothing behind, that it scales."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest

from streamd.api import Misconfigured
from streamd_windows import JoinStage, SessionStage, SlidingStage, TumblingStage, stage
from streamd_windows.packing import pack, unpack, unpack_key
from tests.plugins.streamd_windows.harness import START, Event, Sink, batch, drive, make

HOUR = 3_600_000
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tumbling": (TumblingStage, {"size": "10s"}),
    "lateness": (TumblingStage, {"size": "10s", "allowed_lateness": "5s", "early_events": 1}),
    "sliding": (SlidingStage, {"size": "10s", "slide": "5s"}),
    "session": (SessionStage, {"gap": "10s"}),
}


def build(kind: str, **settings: Any) -> Any:
    cls, own = KINDS[kind]
    aggregate = {"n": "count()", "s": "sum(v)", "d": "distinct(v)"}
    given = {"key": ["k"], "out_of_orderness": "0s", "max_future": "9999d", **settings}
    return make(cls, aggregate=aggregate, **own, **given)


def keyed(first: int, count: int, time: int = 0) -> list[Event]:
    return [Event(time, f"key{number}", number) for number in range(first, first + count)]


def store_size(changes: Any, store: dict[Any, bytes]) -> int:
    written = 0
    for partition, key, value in changes:
        if value is None:
            del store[partition, key]
        else:
            store[partition, key] = value
            written += len(value)
    return written


@pytest.mark.parametrize("kind", KINDS)
def test_dead_keys_leave_nothing(kind: str) -> None:
    """Rounds of keys that never come back: memory and store stay where they were."""
    stage_, store = build(kind), dict[Any, bytes]()
    offset, sizes = 0, []
    tracemalloc.start()
    try:
        for round_ in range(6):
            for first in range(0, 2_000, 1_000):
                number = round_ * 2_000 + first
                stage_.process(batch(keyed(number, 1_000, round_ * HOUR), first=offset))
                offset += 1_000
                store_size(stage_.take_changes(), store)
            stage_.process(batch([Event((round_ + 1) * HOUR - 1, "last")], first=offset))
            offset += 1
            while stage_.tick(0.0):
                pass
            store_size(stage_.take_changes(), store)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert len(store) <= 3, "its time, and the one key that is alive"
    assert sizes[-1] - sizes[1] < 300_000, sizes


def test_dead_pairs_leave_nothing() -> None:
    stage_ = make(
        JoinStage,
        left="left",
        right="right",
        on=["k"],
        within="10s",
        kind="full",
        out_of_orderness="0s",
        max_future="9999d",
    )
    store = dict[Any, bytes]()
    for round_ in range(20):
        for side in ("left", "right"):
            events = [event._replace(stream=side) for event in keyed(0, 500, round_ * HOUR)]
            stage_.process(batch(events, first=round_ * 1_000 + (side == "right") * 500))
        while stage_.tick(0.0):
            pass
        store_size(stage_.take_changes(), store)
        assert len(store) <= 3


def test_evicted_events_leave_nothing() -> None:
    """Also where limits let all of them go, long before their time is over."""
    names: dict[str, Any] = {"left": "left", "right": "right", "on": ["k"], "within": "100s"}
    stage_ = make(JoinStage, **names, out_of_orderness="0s", max_future="9999d", max_events=10)
    store = dict[Any, bytes]()
    for number in range(500):
        events = [Event(number * 1_000, f"key{number}", stream="left")]
        stage_.process(batch(events, first=number))
        stage_.process(batch([events[0]._replace(key="other", stream="right")], first=number))
        stage_.tick(0.0)
        store_size(stage_.take_changes(), store)
    assert len(store) <= 103, "what is said of the last 100 seconds"


@pytest.mark.parametrize("kind", KINDS)
def test_the_cost_of_a_checkpoint_follows_what_changed(kind: str) -> None:
    stage_, store = build(kind), dict[Any, bytes]()
    offset = 0
    for first in range(0, 20_000, 1_000):
        stage_.process(batch(keyed(first, 1_000), first=offset))
        offset += 1_000
    first_size = store_size(stage_.take_changes(), store)
    sizes = []
    for _ in range(20):
        stage_.process(batch(keyed(0, 10), first=offset))
        offset += 10
        sizes.append(store_size(stage_.take_changes(), store))
    assert max(sizes) < first_size / 200
    assert stage_.take_changes() == []


def test_many_small_changes_stay_few_pieces() -> None:
    stage_, store = build("tumbling", close_idle_after="0s"), dict[Any, bytes]()
    for number in range(1_000):
        stage_.process(batch([Event(1, "a", 1)], first=number))
        store_size(stage_.take_changes(), store)
    assert len(store) < 100
    assert sum(map(len, store.values())) < 10_000


@pytest.mark.parametrize("limit", [1, 1_500])
def test_a_large_window_is_emitted_bit_by_bit(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several calls, with a crash between any two: each row at its place, none missing."""
    monkeypatch.setattr(stage, "MAX_ROWS", limit)
    store, sink = dict[Any, bytes](), Sink()
    stage_ = build("tumbling")
    stage_.process(batch(keyed(0, 5_000)))
    sink.take(stage_.process(batch([Event(HOUR, "last")], first=5_000)))
    store_size(stage_.take_changes(), store)
    for _ in range(20):
        results = stage_.tick(0.0)
        assert sum(len(result) for result in results) <= limit + 1_000
        if not results:
            break
        sink.take(results)
        store_size(stage_.take_changes(), store)
        unsaved = stage_.tick(0.0)  # sent, and forgotten by the crash
        sink.take(unsaved)
        stage_ = build("tumbling")
        stage_.assign(["e:0"], [(p, k, v) for (p, k), v in store.items()])
    assert len(sink.rows) == 5_000
    assert sorted(offset for _, offset in sink.places) == list(range(5_000))


@pytest.mark.parametrize("kind", KINDS)
def test_state_does_not_depend_on_the_order_of_aggregates(kind: str) -> None:
    cls, own = KINDS[kind]
    texts = {"a": "sum(v)", "n": "count()", "b": "max(t)", "c": "distinct(k)"}
    settings = {"key": ["k"], "out_of_orderness": "0s", "max_future": "9999d", **own}
    before = make(cls, aggregate=texts, **settings)
    before.process(batch([Event(1, "a", 5), Event(2, "a", 6)]))
    store = dict[Any, bytes]()
    store_size(before.take_changes(), store)
    after = make(cls, aggregate=dict(reversed(texts.items())), **settings)
    after.assign(["e:0"], [(p, k, v) for (p, k), v in store.items()])
    sink = drive(after, batch([Event(HOUR, "b")], first=2))
    row = next(row for row in reversed(sink.order) if row["key"]["k"] == "a")
    assert [row[name] for name in "anbc"] == [11, 2, START + 2, 1]
    assert list(row)[-4:] == list(reversed(texts)), "shown in the order of the settings"


@pytest.mark.parametrize("kind", [*KINDS, "join"])
def test_state_that_cannot_be_read_is_refused_again_and_again(kind: str) -> None:
    """A second try that found the partition there, and empty, would go on without its state."""
    join: dict[str, Any] = {"left": "main", "right": "other", "on": ["k"], "within": "1s"}

    def fresh() -> Any:
        return make(JoinStage, **join, max_future="9999d") if kind == "join" else build(kind)

    stage_ = fresh()
    stage_.assign(["e:0", "e:1"], [])
    stage_.process(batch([Event(1, "a", 5)]))
    stage_.process(batch([Event(1, "a", 5)], "e:1"))
    rows = [(p, key, data) for p, key, data in stage_.take_changes() if data is not None]
    bad = [(p, key, b"\x09" + data[1:] if p == "e:1" else data) for p, key, data in rows]
    after = fresh()
    for _ in range(2):
        with pytest.raises(Misconfigured, match="version 9"):
            after.assign(["e:0", "e:1"], bad)
    after.assign(["e:0", "e:1"], rows)
    assert after._windower.gauges() == stage_._windower.gauges()


def test_state_of_old_is_read() -> None:
    stage_ = build("tumbling")
    stage_.process(batch([Event(1, "a", 5)]))
    rows = [(p, key, data) for p, key, data in stage_.take_changes() if data is not None]
    [meta] = [row for row in rows if unpack_key(row[1])[1] == "m"]
    old = (*meta[:2], pack(unpack(meta[2])[:5]))
    after = build("tumbling")
    after.assign(["e:0"], [old, *(row for row in rows if row is not meta)])
    assert drive(after, batch([Event(HOUR, "b")], first=1)).order[0]["n"] == 1


def test_state_of_a_newer_version_is_refused() -> None:
    assert unpack(pack([1, "a"])) == [1, "a"]
    with pytest.raises(Misconfigured, match="version 9"):
        unpack(b"\x09" + pack(1)[1:])
    with pytest.raises(Misconfigured, match="version"):
        unpack(b"")


def test_state_is_compact() -> None:
    stage_ = make(TumblingStage, size="1h", key=["k"], max_future="9999d")
    for first in range(0, 50_000, 1_000):
        stage_.process(batch(keyed(first, 1_000), first=first))
    size = sum(len(value) for _, _, value in stage_.take_changes() if value)
    assert size / 50_000 < 12, "a short key and a count"


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["tumbling", "session"])
def test_a_million_keys(kind: str) -> None:
    """Live at once, checkpointed, emitted, and gone."""
    cls, own = KINDS[kind]
    stage_ = make(cls, key=["k"], out_of_orderness="0s", max_future="9999d", **own)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for first in range(0, 1_000_000, 10_000):
            stage_.process(batch(keyed(first, 10_000), first=first))
            if first % 100_000 == 0:
                stage_.take_changes()
        gc.collect()
        per_key = (tracemalloc.get_traced_memory()[0] - before) / 1_000_000
        rows = 0
        results = stage_.process(batch([Event(HOUR, "last")], first=1_000_000))
        while results:
            rows += sum(len(result) for result in results)
            results = stage_.tick(0.0)
        gone = [value for _, _, value in stage_.take_changes()]
        del results
        gc.collect()
        left = (tracemalloc.get_traced_memory()[0] - before) / 1_000_000
    finally:
        tracemalloc.stop()
    assert rows == 1_000_000
    assert per_key < (250 if kind == "tumbling" else 500)
    assert left < 20
    assert gone.count(None) >= 1


def test_gauges_of_what_is_held_are_cheap_to_ask() -> None:
    stage_ = build("sliding")
    drive(stage_, batch(keyed(0, 100)))
    assert stage_._windower.gauges() == {"window_open": 1, "window_keys": 100}
    assert stage_._windower.horizon() == START + 10_000
