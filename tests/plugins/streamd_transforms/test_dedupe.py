"""Dedupe: what is a duplicate, what is forgotten when, and that a restart changes no verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.api import Batch, ConfigError, Duration, merge
from streamd.testing import FakeClock, RecordedMetrics, batch_of, stage_context
from streamd_transforms import Dedupe
from tests.plugins.streamd_transforms.helpers import build, passes_untouched, process

PARTITIONS = ("events:0", "events:1")
TTL = 60_000


def dedupe(metrics: RecordedMetrics | None = None, **settings: Any) -> Any:
    step = build(Dedupe, metrics, **{"ttl": Duration("1m"), **settings})
    step.assign(PARTITIONS, [])
    return step


def rows(*events: tuple[Any, int], partition: str = PARTITIONS[0]) -> Batch:
    """Events of (id, time in ms), numbered in their order."""
    values = [{"id": key, "row": row} for row, (key, _) in enumerate(events)]
    return batch_of(values, timestamps=[time for _, time in events], partition=partition)


def passed(step: Any, *events: tuple[Any, int], partition: str = PARTITIONS[0]) -> list[int]:
    """Which of the events come through."""
    values = process(step, rows(*events, partition=partition)).values
    return [value["row"] for value in values]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([("a", 0), ("b", 0), ("a", 0), ("a", 1)], [0, 1]),
        ([("a", 0), ("a", TTL - 1), ("a", TTL)], [0, 2]),
        # The time runs from the event that passed, not from its duplicates.
        ([("a", 0), ("a", TTL // 2), ("a", TTL), ("a", TTL + 1)], [0, 2]),
        # An older event is no duplicate of one that is a whole time to live younger.
        ([("a", TTL), ("a", 1), ("a", 0), ("a", 0), ("a", TTL + 1)], [0, 2, 3]),
        # A wild timestamp makes the oldest two forgotten; one far back not even that.
        (
            [*((key, 0) for key in "abcd"), ("x", 10**15), *((key, 1) for key in "abcd")],
            [0, 1, 2, 3, 4, 5, 6],
        ),
        ([("a", TTL), ("x", -(10**15)), ("a", TTL), ("x", -(10**15))], [0, 1]),
    ],
)
def test_an_event_passes_once_within_the_time_to_live(
    events: list[tuple[str, int]], expected: list[int]
) -> None:
    assert passed(dedupe(), *events) == expected
    one_by_one = dedupe()
    assert [row for row, event in enumerate(events) if passed(one_by_one, event)] == expected


def test_the_very_batch_goes_on_when_all_are_new() -> None:
    assert passes_untouched(dedupe(), rows(("a", 0), ("b", 0), (None, 0)))


def test_duplicates_are_counted_or_sent_elsewhere() -> None:
    metrics = RecordedMetrics()
    batch = rows(("a", 0), ("a", 1), ("b", 2))
    assert len(process(dedupe(metrics), batch).values) == 2
    assert metrics.value("duplicate_events_total") == 1
    assert metrics.value("dedupe_keys") == 2
    result = process(dedupe(duplicates="again"), batch)
    assert [value["row"] for value in result.streams["again"]] == [1]
    assert Dedupe.Config(duplicates="again").emits("stage") == ("again",)


@pytest.mark.parametrize("key", [None, ""])
def test_an_event_without_a_key_is_never_a_duplicate(key: Any) -> None:
    assert passed(dedupe(), (key, 0), (key, 0)) == [0, 1]
    result = process(dedupe(without_key="reject"), rows((key, 0), ("a", 0)))
    assert result.reasons == {0: "no_key"}
    assert len(result.values) == 1


def test_a_key_of_several_parts_needs_them_all() -> None:
    events: list[Any] = [
        {"a": 1, "b": {"c": 2}},
        {"a": 1, "b": {"c": 3}},
        {"a": 1, "b": {"c": 2}, "d": 4},
        {"a": 1},
        {"a": 1},
        {"a": [1, {"y": 1, "x": 2}], "b": {"c": 1}},
        {"a": [1, {"x": 2, "y": 1}], "b": {"c": 1}},
    ]
    step = dedupe(key=("a", "b.c"))
    assert process(step, batch_of(events)).values == [events[at] for at in (0, 1, 3, 4, 5)]


def test_keys_of_different_types_are_different() -> None:
    keys = [1, "1", True, [1], {"1": 1}, 2**70, -(2**70), "x" * 5000, "x" * 5001, b"1"]
    step = dedupe()
    batch = batch_of([{"id": key} for key in keys], raws=[None] * len(keys))
    assert passes_untouched(step, batch)
    assert process(step, batch).values == []
    assert max(len(key) for _, key, _ in step.take_changes()) <= 64


def test_a_value_that_cannot_be_a_key_is_rejected_alone() -> None:
    events = [{"id": "a"}, {"id": object()}, {"id": "\ud800"}, {"id": "a"}, {"id": 2**70}]
    result = process(dedupe(), batch_of(events, raws=[None] * 5))
    assert result.reasons == {1: "key", 2: "key"}
    assert result.values == [events[0], events[4]]


def test_the_oldest_keys_go_first_when_there_are_too_many() -> None:
    metrics = RecordedMetrics()
    step = dedupe(metrics, max_keys=2)
    assert passed(step, ("a", 0), ("b", 0), ("c", 0), ("b", 0), ("a", 0)) == [0, 1, 2, 4]
    assert metrics.value("dedupe_evicted_keys_total") == 2
    assert metrics.value("dedupe_keys") == 2
    changes = dict(change[1:] for change in step.take_changes())
    assert len([value for value in changes.values() if value is None]) == 1, "b went, a came back"


def test_what_has_expired_is_forgotten_and_deleted() -> None:
    metrics = RecordedMetrics()
    step = dedupe(metrics)
    passed(step, *[(f"old{n}", n) for n in range(10)])
    assert len(step.take_changes()) == 10
    passed(step, *[(f"new{n}", TTL + 10) for n in range(10)])
    changes = step.take_changes()
    assert len([value for _, _, value in changes if value is None]) == 10
    assert len([value for _, _, value in changes if value is not None]) == 10
    assert metrics.value("dedupe_keys") == 10


def test_changes_follow_what_changed_and_not_what_is_held() -> None:
    step = dedupe()
    passed(step, *[(f"k{n}", 0) for n in range(1000)])
    assert len(step.take_changes()) == 1000
    passed(step, ("k1", 1), ("k2", 1), ("new", 1))
    assert len(step.take_changes()) == 1


def test_the_scope_says_whether_other_partitions_count() -> None:
    for scope, expected in (("pipeline", []), ("partition", [0])):
        step = dedupe(scope=scope)
        assert passed(step, ("a", 0)) == [0]
        assert passed(step, ("a", 0), partition=PARTITIONS[1]) == expected
        both = merge([rows(("b", 0)), rows(("b", 0), ("c", 0), partition=PARTITIONS[1])])
        assert len(process(step, both).values) == 2 + len(expected)


def test_a_key_of_a_partition_that_moved_away_is_new_again() -> None:
    step = dedupe()
    passed(step, ("a", 0))
    passed(step, ("b", 0), partition=PARTITIONS[1])
    step.revoke([PARTITIONS[0]])
    assert passed(step, ("a", 0), ("b", 0), partition=PARTITIONS[1]) == [0]
    assert {change[0] for change in step.take_changes()} == {PARTITIONS[1]}


def test_a_key_that_two_partitions_bring_along_is_held_once_where_it_is_younger() -> None:
    changes = []
    for time, partition in ((0, PARTITIONS[0]), (TTL // 2, PARTITIONS[1])):
        step = dedupe(scope="partition")
        passed(step, ("a", time), partition=partition)
        changes += step.take_changes()
    for order in (changes, changes[::-1]):
        step = dedupe()
        step.assign(PARTITIONS, order)
        assert [(where, value) for where, _, value in step.take_changes()] == [
            (PARTITIONS[0], None)
        ]
        assert passed(step, ("a", TTL)) == []


def test_rows_that_a_step_has_made_count_for_the_partition_behind_them() -> None:
    step = dedupe()
    assert passed(step, ("a", 0), partition="per_minute:events:1") == [0]
    assert [change[0] for change in step.take_changes()] == ["events:1"]
    assert passed(step, ("a", 0), partition="events:1") == []


def test_processing_time_is_that_of_the_machine() -> None:
    clock = FakeClock()
    config = Dedupe.Config(ttl=Duration("1m"), time="processing")
    step = Dedupe(config, stage_context(clock=clock))
    step.assign(PARTITIONS, [])
    assert passed(step, ("a", 0)) == [0]
    clock.advance(59)
    assert passed(step, ("a", TTL * 5)) == []
    clock.advance(1)
    assert passed(step, ("a", 0)) == [0]


def test_state_is_kept_while_it_means_the_same() -> None:
    config = Dedupe.Config()
    assert config.state_key() == Dedupe.Config(ttl=Duration("2h"), max_keys=5).state_key()
    assert config.state_key() == Dedupe.Config(key=("id",)).state_key()
    for other in ({"key": "name"}, {"time": "processing"}, {"key": ("id", "name")}):
        assert config.state_key() != Dedupe.Config(**other).state_key()


def test_a_lower_bound_holds_for_restored_state() -> None:
    step = dedupe()
    passed(step, *[(f"k{n}", 0) for n in range(10)])
    changes = step.take_changes()
    step = dedupe(max_keys=2)
    step.assign(PARTITIONS, changes)
    assert passed(step, ("new", 0), ("k9", 0), ("k8", 0)) == [0, 2]


def test_a_time_beyond_all_bounds_hurts_nobody() -> None:
    events = [("a", 0), ("x", 10**40), ("a", 1), ("y", -(10**40)), ("x", 10**40)]
    step = dedupe()
    assert passed(step, *events) == [0, 1, 2, 3]
    assert len(step.take_changes()) == 3
    assert passed(dedupe(), *events[1:]) == [0, 1, 2]


def test_keys_keep_their_order_over_a_restart() -> None:
    changes: list[Any] = []
    for keys in ("cab", "d"):
        step = dedupe(max_keys=4)
        step.assign(PARTITIONS, sorted(changes))
        passed(step, *[(key, 0) for key in keys])
        changes += step.take_changes()
    step = dedupe(max_keys=4)
    step.assign(PARTITIONS, sorted(changes))
    # Each new key takes the place of the oldest: c, then a.
    assert passed(step, *[(key, 0) for key in "efbdef"]) == [0, 1]


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"key": ()}, "key"),
        ({"key": ("id", "a b")}, "key[1]"),
        ({"key": "a b"}, "key"),
        ({"ttl": Duration("0s")}, "ttl"),
        ({"duplicates": "a b"}, "duplicates"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(Dedupe, **settings)
    assert error.value.path == path


class Row(NamedTuple):
    partition: str
    key: str
    time: int


ROWS = st.lists(
    st.builds(
        Row,
        st.sampled_from(PARTITIONS),
        st.sampled_from("abcd"),
        st.integers(0, 8).map(TTL.__mul__),
    ),
    max_size=40,
)
SHORT = Duration("2m")


def judge(step: Any, row: Row) -> bool:
    return bool(passed(step, (row.key, row.time), partition=row.partition))


@given(
    ROWS,
    st.lists(st.booleans(), min_size=40, max_size=40),
    st.integers(1, 4),
    st.sampled_from(["pipeline", "partition"]),
)
def test_a_restart_at_any_row_changes_no_verdict(
    sequence: list[Row], restarts: Sequence[bool], max_keys: int, scope: str
) -> None:
    settings: dict[str, Any] = {"ttl": SHORT, "max_keys": max_keys, "scope": scope}
    undisturbed = dedupe(**settings)
    step = dedupe(**settings)
    stored: dict[tuple[str, bytes], bytes] = {}
    for number, row in enumerate(sequence):
        if restarts[number]:
            for partition, key, value in step.take_changes():
                stored.pop((partition, key), None)
                if value is not None:
                    stored[partition, key] = value
            step = dedupe(**settings)
            step.assign(PARTITIONS, [(*at, value) for at, value in reversed(stored.items())])
            assert step.take_changes() == [], "nothing has changed by a restart"
        assert judge(step, row) == judge(undisturbed, row)


@given(ROWS, st.lists(st.integers(1, 10), min_size=1))
def test_the_cut_into_batches_changes_no_verdict(sequence: list[Row], sizes: list[int]) -> None:
    """Of one partition: what each row gets depends on the rows before it alone."""
    events = [(row.key, row.time) for row in sequence]
    one_by_one = dedupe(ttl=SHORT, max_keys=3)
    expected = [bool(passed(one_by_one, event)) for event in events]
    step = dedupe(ttl=SHORT, max_keys=3)
    got: list[bool] = []
    while len(got) < len(events):
        size = sizes[len(got) % len(sizes)]
        part = events[len(got) : len(got) + size]
        through = passed(step, *part)
        got += [row in through for row in range(len(part))]
    assert got == expected


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, TTL)), max_size=30))
def test_in_order_the_verdict_is_the_definition(steps: list[tuple[str, int]]) -> None:
    """With times that ascend and room for all keys nothing is forgotten too early."""
    step, time = dedupe(), 0
    last: dict[str, int] = {}
    for key, gap in steps:
        time += gap
        is_new = time - last.get(key, -TTL) >= TTL
        assert bool(passed(step, (key, time))) == is_new
        if is_new:
            last[key] = time
