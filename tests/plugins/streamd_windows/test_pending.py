"""What comes to a large pane: events stay events where most keys come but once."""

from __future__ import annotations

from typing import Any

import pytest

from streamd_windows import cells, shards
from streamd_windows.blocks import cells_block, events_block
from streamd_windows.cells import Group
from streamd_windows.packing import unpack_block
from streamd_windows.shards import Shard
from tests.plugins.streamd_windows.harness import Event, batch, limit
from tests.plugins.streamd_windows.test_shards import COUNTS, WAYS, event_of, save, stage_of


def test_events_of_many_keys_stay_events() -> None:
    limit(10, 50, 100, 1_000)
    group = Group(COUNTS, "p")
    for number in range(0, 400, 20):
        group.add(_keys(number, 20), (), ())
    assert not group.fresh[0]
    assert any(type(unpack_block(block)[0]) is bool for block in _blocks(group))
    assert sum(map(len, group.parts(0, None))) == len(group) == 400
    group.add(_keys(400, 20), (), ())
    assert sum(map(len, group.parts(0, None))) == 420, "also what has just come"


@pytest.mark.parametrize("at_once", [1, 20])
@pytest.mark.parametrize("stored", [True, False])
def test_keys_that_come_again_are_counted_when_they_come(at_once: int, stored: bool) -> None:
    """Whether a batch has each once or not, and if what came is stored before it is spread."""
    limit(10, 400, 100, 1_000)
    group = Group(COUNTS, "p")
    group.add(_keys(0, 800), (), ())
    group.take()
    written = 0
    for number in range(0, 2_000, at_once):
        group.add([f"key{n % 20}" for n in range(number, number + at_once)], (), ())
        if stored and number % 200 == 0:
            written += sum(len(piece or b"") for _, piece in group.take())
    assert group.fresh[0] or stored
    assert written < 2_500, "10 times 20 cells, not 2,000 events"
    assert group.value(0, "key7") == 101


def test_pieces_of_the_same_keys_stay_few_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_PIECES", 10**9)
    keys, store, rewritten = _keys(0, 100), dict[tuple[int, int], bytes](), 0
    shard, block = Shard(COUNTS, "p"), cells_block(COUNTS, [dict.fromkeys(keys, 1)], keys)
    for number in range(400):
        shard.add(block, len(keys))
        if shard.overdue() > 1:
            shard.catch_up()
        taken = shard.take(0)
        rewritten += len(taken) > 1
        for name, piece in taken:
            if piece is None:
                del store[name]
            else:
                store[name] = piece
        assert len(store) <= 24
        if number % 50 == 49:  # the next life knows how much is stored
            shard = Shard(COUNTS, "p")
            shard.restore((n, piece) for (_, n), piece in store.items())
    assert shard.whole[0]["key7"] + shard.waiting // 100 == 400
    assert 20 < rewritten < 100


def test_cells_come_after_events_that_wait() -> None:
    shard = Shard(COUNTS, "p")
    shard.add(events_block(COUNTS, ["first", "second"], [], []), 2)
    shard.absorb([{"third": 1}])
    assert list(shard.whole[0]) == ["first", "second", "third"]


def test_one_call_catches_up_with_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "_AT_ONCE", 1)
    limit(0, 500, 1, 1_000)
    group = Group(COUNTS, "p")
    for number in range(0, 2_000, 500):
        group.add(_keys(number, 500), (), ())
    waiting = [shard.waiting for shard in group.shards]
    assert 0 < waiting.count(0) <= 4


def test_a_pane_that_leaves_with_its_partition_has_counted_all() -> None:
    limit(0, 50, 10**9, 1_000)
    stage = stage_of("tumbling")
    for first in (0, 400):
        events = [Event(0, f"key{n}", "text") for n in range(first, first + 400)]
        stage.process(batch(events, first=first))
    stage.revoke(["e:0"])
    assert stage._windower._columns.take_skipped()["s"] == 800


def _keys(first: int, count: int) -> list[str]:
    return [f"key{number}" for number in range(first, first + count)]


def _blocks(group: Group) -> list[bytes]:
    return [block for shard in group.shards for block in shard.blocks]


def test_what_no_aggregate_can_use_is_counted_once() -> None:
    counted = []
    for way in WAYS:
        limit(*way)
        stage, store = stage_of("tumbling"), dict[Any, bytes]()
        for number in range(0, 2_000, 100):
            stage.process(batch([event_of(n) for n in range(number, number + 100)], first=number))
            save(stage, store)
        table = stage._windower._columns.table
        _read(stage)
        counted.append([*table.skipped])
        again = stage_of("tumbling")
        again.assign(["e:0"], [(p, k, v) for (p, k), v in store.items()])
        _read(again)
        assert not any(again._windower._columns.table.skipped), "these are nothing new"
    assert counted[0] == counted[1] == counted[2]
    assert min(counted[0][1:]) >= 500


def _read(stage: Any) -> None:
    for _ in stage._windower.early(None):
        pass
