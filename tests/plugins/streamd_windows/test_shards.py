"""Panes of many keys: nobody sees whether they are split, and into what."""

from __future__ import annotations

from typing import Any

import pytest

from streamd.api import Misconfigured
from streamd_windows import SlidingStage, TumblingStage, panes, shards
from streamd_windows.aggregates import Count, Table
from streamd_windows.blocks import cells_block
from streamd_windows.cells import Group
from streamd_windows.keys import FLAGS
from streamd_windows.packing import pack, pack_block, unpack_block
from streamd_windows.results import batches
from streamd_windows.rows import Chunk
from streamd_windows.slices import Slice
from tests.plugins.streamd_windows.harness import Event, Sink, batch, drive, limit, make

HOUR = 3_600_000
KEYS = 1_000
COUNTS = Table([Count()], [None])
# Never split; split at once; split on the way, and merged late.
WAYS = [(10**9, 10**9, 10**9, 1_000), (0, 50, 0, 1_000), (600, 250, 100, 1_000)]


def test_the_shard_of_a_key_stays() -> None:
    """State is stored by it, and results are ordered by it."""
    keys = ["", "a", "user1", "é", "🌍", 7, -1.5, None, FLAGS[1], ("a", 1), ("a", None)]
    found = [shards.shard_of(key) for key in keys]
    assert found == [0, 3, 21, 62, 44, 46, 14, 61, 7, 20, 50]
    scattered = shards.scatter(keys, keys, shards.apart())
    assert [key for part in scattered for key in part] == [
        key for _, key in sorted(zip(found, keys, strict=True), key=lambda pair: pair[0])
    ]


@pytest.mark.parametrize("kind", ["tumbling", "sliding"])
def test_results_are_the_same_however_cells_are_kept(kind: str) -> None:
    emitted = []
    for way in WAYS:
        limit(*way)
        emitted.append(_emitted(kind, crash=False))
    assert len(emitted[0]) >= KEYS
    assert emitted[0] == emitted[1] == emitted[2]


@pytest.mark.parametrize("before", WAYS)
@pytest.mark.parametrize("after", WAYS)
def test_a_restart_may_keep_them_in_another_way(before: Any, after: Any) -> None:
    limit(*before)
    whole = _emitted("tumbling", crash=False)
    assert _emitted("tumbling", crash=True, after=after) == whole


def test_state_of_another_layout_is_refused() -> None:
    stage = stage_of("tumbling")
    drive(stage, batch([Event(1, "a")]))
    rows = list(stage.take_changes())
    key = next(key for _, key, _ in rows if unpack_block(key)[1] == "p")
    name = unpack_block(key)
    old = [(p, pack_block(name[:-2] + name[-1:]) if k == key else k, v) for p, k, v in rows]
    with pytest.raises(Misconfigured, match="another layout"):
        stage_of("tumbling").assign(["e:0"], old)


def stage_of(kind: str) -> Any:
    aggregate = {"n": "count()", "some": "count(v)", "s": "sum(v)", "d": "distinct(v)"}
    aggregate |= {"f": "first(v)", "l": "last(v)", "c": "collect(v, 2)"}
    given: dict[str, Any] = {"key": ["k"], "out_of_orderness": "0s", "max_future": "9999d"}
    if kind == "tumbling":
        return make(TumblingStage, aggregate=aggregate, size="10s", **given)
    return make(SlidingStage, aggregate=aggregate, size="10s", slide="5s", **given)


def _emitted(kind: str, *, crash: bool, after: Any = None) -> list[tuple[Any, ...]]:
    """Each row with its place, in order; after a crash as the store has it."""
    stage, sink, store = stage_of(kind), Sink(), dict[Any, bytes]()
    for number in range(0, 3 * KEYS, 250):
        events = [event_of(n) for n in range(number, number + 250)]
        sink.take(stage.process(batch(events, first=number)))
        if number % 750 == 0:
            save(stage, store)
    save(stage, store)
    if crash:
        limit(*after)
        stage = stage_of(kind)
        stage.assign(["e:0"], [(p, k, v) for (p, k), v in store.items()])
    sink.take(stage.process(batch([Event(HOUR, "last")], first=3 * KEYS)))
    return [(place, *row.items()) for place, row in zip(sink.places, sink.order, strict=True)]


def event_of(number: int) -> Event:
    key: Any = number * 7 % KEYS
    if key % 3:
        key = f"kéy{key}" if key % 5 == 0 else f"key{key}"
    value: Any = None if number % 4 == 0 else number
    if number > 1_500 and number % 50 == 1:  # nothing that msgpack gives back as it was
        value = 2**70 if number % 100 == 1 else {"number": [number]}
    return Event(number, key, value)


def save(stage: Any, store: dict[Any, bytes]) -> None:
    for partition, key, value in stage.take_changes():
        if value is None:
            del store[partition, key]
        else:
            store[partition, key] = value


@pytest.mark.parametrize("spread", [20, 10**9])
def test_little_at_a_time_stays_little(spread: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large pane of few events between two checkpoints: state grows with keys, not events."""
    limit(50, spread, 10, 1_000)
    monkeypatch.setattr(shards, "_SLACK", 1)
    monkeypatch.setattr(shards, "_PIECES", 8)
    stage, store = stage_of("tumbling"), dict[Any, bytes]()
    most = 0
    for number in range(0, 6_000, 5):
        events = [Event(0, f"key{n % 300}", 1) for n in range(number, number + 5)]
        stage.process(batch(events, first=number))
        save(stage, store)
        if number == 1_500:
            most = len(store)
        assert number <= 1_500 or len(store) < 2 * most
    assert most > 0
    assert stage._windower.gauges()["window_keys"] <= 3 * 300 + 64 * 10


def test_state_of_another_number_of_shards_is_refused() -> None:
    """Its keys are in shards where nobody would look for them."""
    piece = pack([shards.COUNT // 4, cells_block(COUNTS, [{"a": 1}], ["a"])])
    with pytest.raises(Misconfigured, match="another layout"):
        Group(COUNTS, "p").restore([((1, 0), piece)])
    with pytest.raises(Misconfigured, match="another layout"):
        Group(COUNTS, "p").restore([((shards.COUNT + 1, 0), piece)])


def test_a_shard_that_is_full_but_not_due_hides_no_other() -> None:
    limit(1, 1, 4, 1_000)
    group = Group(COUNTS, "p")
    keys = [f"key{number}" for number in range(10_000)]
    by_shard = shards.scatter(keys, keys, shards.apart())
    large, small = by_shard[0][:100], by_shard[1][:2]

    def come(keys: list[str], times: int) -> None:
        for _ in range(times):
            group.fresh[0].update(dict.fromkeys(keys, 1))
            group.settle()

    come(large, 1)
    held = group.shards[0]
    held.merge()
    come(large, 2)
    assert held.waiting == 200, "twice what is merged, which is not too much"
    come(small, 3)
    assert held.waiting == 200
    assert group.shards[1].waiting <= 4


def test_a_row_comes_after_what_it_follows_where_its_key_has_moved() -> None:
    """Also if each has an id of its own: partition e:0 has brought the key of e:1 meanwhile."""
    first, second = Slice("e:0", "e:0", None), Slice("e:1", "e:1", None)
    chunks = [_chunk(first, "x", 0), _chunk(second, "k", 0), _chunk(first, "k", 1)]
    shown = [(b.spans[0].partition, row["pane"]) for b in batches("w", chunks) for row in b.values]
    assert shown == [("w:e:0", 0), ("w:e:1", 0), ("w:e:0", 1)]


def test_large_panes_that_are_over_are_freed_over_some_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(panes, "_FREED", 300)
    limit(0, 50, 0, 1_000)
    stage = stage_of("tumbling")
    waste = stage._windower._waste
    for number in range(20):  # more come while the first ones wait
        events = [Event(20_000 * number, f"key{n}", 1) for n in range(1_000)]
        stage.process(batch(events, first=1_000 * number))
        assert sum(map(len, waste)) <= 9_000
    stage.process(batch([Event(HOUR, "last")], first=20_000))
    assert waste
    for _ in range(40):
        stage.tick(0.0)
    assert not waste


def _chunk(slice_: Slice, key: str, pane: int) -> Chunk:
    row = {"id": f"{key}{pane}", "start": 0, "key": {"k": key}, "pane": pane}
    return Chunk(slice_, [row], [0])
