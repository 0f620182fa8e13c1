"""What the stages do with time, late events and early results."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from streamd.api import Batch, Rejects, Span
from streamd.testing import FakeClock, RecordedMetrics
from streamd_windows import JoinStage, SessionStage, SlidingStage, TumblingStage
from tests.plugins.streamd_windows.harness import START, Event, Sink, batch, drive, make

LATE_IS_READ = {"readable": frozenset({"main", "w", "w.late"})}


def tumbling(**settings: Any) -> Any:
    settings = {"size": "10s", "key": ["k"], "out_of_orderness": "0s", **settings}
    return make(TumblingStage, **settings)


def counts(sink: Sink) -> list[tuple[int, Any, int, int]]:
    """(start in s after START, key, pane, count) in the order in which they came."""
    return [
        ((row["start"] - START) // 1000, row["key"].get("k"), row["pane"], row["count"])
        for row in sink.order
    ]


def at(*seconds: float, key: Any = "a") -> list[Event]:
    return [Event(round(second * 1000), key) for second in seconds]


# --- rows ---


def test_a_row_has_what_was_promised() -> None:
    sink = drive(
        tumbling(aggregate={"events": "count()", "revenue": "sum(v)"}),
        batch([Event(1_000, "a", 2), Event(2_000, "a", 3), Event(10_000, "b", 1)]),
    )
    (row,) = sink.order
    assert row == {
        "window": "w",
        "id": row["id"],
        "start": START,
        "end": START + 10_000,
        "key": {"k": "a"},
        "pane": 0,
        "watermark": START + 10_000,
        "events": 2,
        "revenue": 5,
    }
    assert row["id"] == "test/w/1763548200000/1763548210000/a"


def test_results_are_a_stream_of_their_own() -> None:
    stage = tumbling()
    stage.process(batch(at(1), first=5))
    (made,) = stage.process(batch(at(11, key="b"), first=6))
    assert made.stream is None
    assert made.spans == [Span("w:e:0", 0, 1, 1)]
    assert (list(made.offsets), list(made.timestamps)) == ([0], [START + 10_000])
    (made,) = stage.process(batch(at(21), first=7))
    assert list(made.offsets) == [1]


def test_times_may_be_text() -> None:
    sink = drive(tumbling(time_format="rfc3339"), batch(at(1, 11)))
    assert sink.order[0]["start"] == "2025-11-19T10:30:00.000Z"
    assert sink.order[0]["end"] == sink.order[0]["watermark"] == "2025-11-19T10:30:10.000Z"


def test_without_a_key_the_window_is_global() -> None:
    sink = drive(tumbling(key=[]), batch([*at(1, 2), *at(3, 11, key="b")]))
    assert [(row["key"], row["count"]) for row in sink.order] == [({}, 3)]


def test_several_fields_make_a_key() -> None:
    events = [Event(1_000, "a", 1), Event(2_000, "a", True), Event(3_000, "a", 1), Event(11_000)]
    sink = drive(tumbling(key=["k", "v"]), batch(events))
    counts = {repr(row["key"]): row["count"] for row in sink.order}
    assert counts == {"{'k': 'a', 'v': 1}": 2, "{'k': 'a', 'v': True}": 1}


def test_events_may_be_structs() -> None:
    class Click(msgspec.Struct):
        k: str
        v: float

    stage = tumbling(aggregate={"s": "sum(v)", "l": "last($)"})
    made = batch(at(1, 2, 11)).replace([Click("a", 1.5), Click("a", 2.0), Click("b", 1)])
    sink = drive(stage, made)
    assert [(row["s"], row["l"]) for row in sink.order] == [(3.5, {"k": "a", "v": 2.0})]


def test_windows_may_start_elsewhere() -> None:
    stage = tumbling(size="1d", offset="22h", max_future="9d")
    sink = drive(stage, batch(at(1, 86_400 * 2)))
    assert (sink.order[0]["start"] // 3_600_000) % 24 == 22


# --- time ---


def test_time_comes_from_a_field() -> None:
    stage = tumbling(time="t")
    made = batch(at(1, 2, 11))
    made.timestamps = [0, 0, 0]
    assert counts(drive(stage, made)) == [(0, "a", 0, 2)]


def test_an_event_without_time_is_rejected_alone() -> None:
    stage = tumbling(time="at")
    good = [{"k": "a", "at": "2025-11-19T10:30:01Z"}, {"k": "a", "at": "2025-11-19T10:31:00+00:00"}]
    bad = [{"k": "a"}, {"k": "a", "at": "2025-11-19T10:30:01"}, {"at": []}, {"at": True}, None]
    made = batch(at(*range(7))).replace([bad[0], good[0], *bad[1:], good[1]])
    results = stage.process(made)
    (rejects,) = [result for result in results if isinstance(result, Rejects)]
    assert sorted(rejects.rows) == [0, 2, 3, 4, 5]
    assert {reject.reason for reject in rejects.rows.values()} == {"timestamp"}
    assert [row["count"] for row in results[0].values] == [1]


def test_a_time_far_ahead_closes_nothing() -> None:
    stage = tumbling(max_future="1h")
    sink = drive(stage, batch([*at(1), *at(3_601), *at(2), *at(11)]))
    assert [reject.reason for reject in sink.rejects] == ["future"]
    assert counts(sink) == [(0, "a", 0, 2)]


def test_the_slowest_partition_keeps_windows_open() -> None:
    stage = tumbling()
    stage.assign(["e:0", "e:1"], [])
    assert counts(drive(stage, batch(at(1, 100), "e:0"))) == []
    assert counts(drive(stage, batch(at(5, 9), "e:1"))) == []
    assert counts(drive(stage, batch(at(12, key="b"), "e:1", 2))) == [(0, "a", 0, 3)]


def test_an_idle_partition_does_not_hold_back() -> None:
    stage = tumbling(idle_after="30s")
    stage.assign(["e:0", "e:1"], [])
    stage.tick(1_000.0)
    sink = drive(stage, batch(at(1)), batch(at(100), first=1), active=1_029.0)
    assert counts(sink) == []
    sink.take(stage.tick(1_030.0))
    assert counts(sink) == [(0, "a", 0, 1)]


def test_time_under_back_pressure_is_not_idle() -> None:
    """`active` stands still, whatever the wall clock says."""
    clock = FakeClock(START)
    stage = tumbling(clock=clock, idle_after="30s", close_idle_after="30s")
    stage.assign(["e:0", "e:1"], [])
    stage.tick(5.0)
    sink = drive(stage, batch(at(1, 100)), active=5.0)
    clock.advance(1_000_000)
    sink.take(stage.tick(5.0))
    assert counts(sink) == []


def test_a_quiet_stream_still_answers() -> None:
    clock = FakeClock(START + 4_000)
    stage = tumbling(clock=clock, close_idle_after="20s", out_of_orderness="3s")
    stage.tick(0.0)
    sink = drive(stage, batch(at(1, 2)), active=0.0)
    sink.take(stage.tick(20.0))
    assert counts(sink) == [], "by the wall clock the window is not over"
    clock.now = START + 12_999
    sink.take(stage.tick(29.0))
    assert counts(sink) == [], "nor is the allowed disorder"
    clock.now = START + 13_000
    sink.take(stage.tick(29.1))
    assert counts(sink) == [(0, "a", 0, 2)]


def test_a_pause_in_old_events_closes_no_more_than_what_is_open() -> None:
    stage = tumbling(clock=FakeClock(START + 10**10), close_idle_after="20s", idle_after="5s")
    stage.tick(0.0)
    sink = drive(stage, batch(at(1)), active=0.0)
    sink.take(stage.tick(100.0))
    assert counts(sink) == [(0, "a", 0, 1)]
    sink = drive(stage, batch(at(9), first=1), batch(at(10, 20), first=2), active=101.0)
    assert [reject.reason for reject in sink.rejects] == ["late"]
    assert counts(sink) == [(10, "a", 0, 1)]


def test_after_a_silence_of_all_nobody_is_late_for_another_has_spoken_first() -> None:
    """The source was away: what it has for one partition comes before what it has for the next."""
    clock = FakeClock(START)
    stage = tumbling(clock=clock)
    stage.assign(["e:0", "e:1"], [])
    stage.tick(0.0)
    sink = drive(stage, batch(at(1)), batch(at(2), "e:1"))
    clock.advance(600)
    sink.take(stage.tick(600.0))
    assert counts(sink) == [(0, "a", 0, 2)]
    for partition in ("e:0", "e:1"):
        sink.take(stage.process(batch(at(100, 200, 300, 400), partition, 1)))
    sink.take(stage.tick(601.0))
    assert not sink.rejects
    assert counts(sink)[1:] == [(100, "a", 0, 2), (200, "a", 0, 2), (300, "a", 0, 2)]
    # One of them stays silent from here on: it holds back the other as long as ever, not longer.
    clock.advance(1_000)
    sink.take(stage.tick(1_000.0))
    sink.take(stage.process(batch(at(700, 800), first=5)))
    sink.take(stage.tick(1_030.0))
    assert len(sink.order) == 5, "what was open is closed by the clock"
    sink.take(stage.process(batch(at(801), first=7)))
    sink.take(stage.tick(1_060.0))
    assert counts(sink)[5:] == [(700, "a", 0, 1)]


@pytest.mark.parametrize("time", ["record", "processing"])
def test_when_the_sources_end_all_windows_close(time: str) -> None:
    stage = tumbling(time=time, close_idle_after="0s", clock=FakeClock(START))
    sink = drive(stage, batch(at(1, 2)), active=1.0)
    assert counts(sink) == []
    sink.take(stage.tick(math.inf))
    assert counts(sink) == [(0, "a", 0, 2)]
    assert stage.tick(math.inf) == []


def test_processing_time_goes_by_the_clock() -> None:
    clock = FakeClock(START)
    stage = tumbling(clock=clock, time="processing")
    sink = drive(stage, batch(at(500, 1)))
    clock.now = START + 9_999
    sink.take(stage.tick(1.0))
    assert counts(sink) == []
    clock.now = START + 10_000
    sink.take(stage.tick(2.0))
    assert counts(sink) == [(0, "a", 0, 2)]
    clock.now = START + 3_000  # set back: what comes now still counts once, in the next window
    sink.take(stage.process(batch(at(3), first=2)))
    clock.now = START + 20_000
    sink.take(stage.tick(3.0))
    assert counts(sink)[1:] == [(10, "a", 0, 1)]
    assert not sink.rejects


# --- late events ---


def test_late_events_go_to_their_stream_if_it_is_read() -> None:
    metrics = RecordedMetrics()
    stage = tumbling(context={**LATE_IS_READ, "metrics": metrics})
    stage.process(batch(at(1, 11)))
    made = batch(at(2, 12, 3), first=2)
    late = [result for result in stage.process(made) if result.stream == "w.late"]
    assert [list(each.offsets) for each in late] == [[2, 4]]
    assert late[0].values == [made.values[0], made.values[2]]
    assert late[0].spans == [Span("e:0", 2, 5, 2)]
    assert metrics.value("window_late_events_total") == 2


def test_late_events_are_rejected_if_nobody_reads_them() -> None:
    stage = tumbling()
    stage.process(batch(at(1, 11)))
    (rejects,) = stage.process(batch(at(12, 2), first=2))
    assert list(rejects.rows) == [1]
    assert rejects.rows[1].reason == "late"


def test_late_within_a_batch_is_late() -> None:
    sink = drive(tumbling(out_of_orderness="2s"), batch(at(1, 13, 2)), batch(at(11.9), first=3))
    assert counts(sink) == [(0, "a", 0, 1)]
    assert len(sink.rejects) == 1


def test_disorder_within_the_bound_is_not_late() -> None:
    sink = drive(tumbling(out_of_orderness="5s"), batch(at(1, 14.9, 2)), batch(at(15), first=3))
    assert counts(sink) == [(0, "a", 0, 2)]
    assert not sink.rejects


@pytest.mark.parametrize(("panes", "ids"), [("replace", 1), ("keep", 3)])
def test_allowed_lateness_corrects_the_result(panes: str, ids: int) -> None:
    stage = tumbling(allowed_lateness="10s", panes=panes)
    sink = drive(
        stage,
        batch([*at(1), *at(1, key="b"), *at(11)]),
        batch(at(2), first=3),
        batch([*at(19.9), *at(3)], first=4),
        batch([*at(20), *at(4)], first=6),
    )
    assert counts(sink) == [
        (0, "a", 0, 1),
        (0, "b", 0, 1),
        (0, "a", 1, 2),
        (0, "a", 2, 3),
        (10, "a", 0, 2),
    ]
    assert [row["watermark"] - START for row in sink.order[2:4]] == [11_000, 19_900]
    assert len(sink.rejects) == 1
    assert len({row["id"] for row in sink.order if row["start"] == START}) == ids + 1


def test_a_late_event_counts_in_the_windows_that_are_open() -> None:
    stage = make(SlidingStage, size="10s", slide="5s", key=["k"], out_of_orderness="0s")
    sink = drive(stage, batch(at(1, 11)), batch(at(6), first=2), batch(at(20), first=3))
    assert counts(sink) == [(-5, "a", 0, 1), (0, "a", 0, 1), (5, "a", 0, 2), (10, "a", 0, 1)]
    assert not sink.rejects


def test_a_late_event_that_bridges_two_sessions_merges_them() -> None:
    stage = make(
        SessionStage, gap="10s", key=["k"], out_of_orderness="30s", aggregate={"count": "count()"}
    )
    sink = drive(stage, batch(at(1, 15, 8)), batch(at(60, key="b"), first=3))
    assert counts(sink) == [(1, "a", 0, 3)]
    assert sink.order[0]["end"] == START + 25_000


def test_a_session_within_lateness_is_emitted_again() -> None:
    stage = make(SessionStage, gap="5s", key=["k"], out_of_orderness="0s", allowed_lateness="100s")
    sink = drive(
        stage,
        batch(at(1, 10, key="a")),
        batch(at(30, key="b"), first=2),
        batch(at(5.5, key="a"), first=3),
        batch(at(5.5, key="c"), first=4),
    )
    assert counts(sink) == [
        (1, "a", 0, 1),
        (10, "a", 0, 1),
        # The two are one now, which has been shown twice.
        (1, "a", 2, 3),
        (5, "c", 0, 1),
    ]


@pytest.mark.parametrize(
    ("kind", "settings"), [(TumblingStage, {"size": "10s"}), (SessionStage, {"gap": "5s"})]
)
def test_a_correction_comes_after_what_it_corrects_in_another_partition(
    kind: Any, settings: dict[str, Any]
) -> None:
    stage = make(kind, key=["k"], out_of_orderness="0s", allowed_lateness="100s", **settings)
    sink = drive(stage, batch(at(1)), batch([*at(2, key="c"), *at(20, key="c")], "e:1"))
    # One batch of e:0 closes the window in which c is of e:1, and then makes c its own.
    sink.take(stage.process(batch([*at(15), *at(2, key="c")], first=1)))
    rows = [row for row in sink.order if row["key"]["k"] == "c"]
    assert [(row["pane"], row["count"]) for row in rows] == [(0, 1), (1, 2)]
    assert rows[0]["id"] == rows[1]["id"]


# --- early results ---


def test_early_after_every_so_many_events() -> None:
    stage = tumbling(early_events=2)
    sink = drive(
        stage,
        batch(at(1)),
        batch([*at(2), *at(2, key="b")], first=1),
        batch(at(3, 4, 5), first=3),
        batch(at(11), first=6),
    )
    assert counts(sink) == [
        (0, "a", 0, 2),
        (0, "a", 1, 5),
        (0, "a", 2, 5),
        (0, "b", 0, 1),
    ]
    assert [row["watermark"] - START for row in sink.order[:3]] == [1_000, 2_000, 10_000]


@pytest.mark.parametrize("cls", [TumblingStage, SessionStage])
def test_early_every_so_often(cls: Any) -> None:
    clock = FakeClock(START)
    length = {"size": "100s"} if cls is TumblingStage else {"gap": "50s"}
    stage = make(cls, clock, key=["k"], early_every="10s", out_of_orderness="0s", **length)
    sink = drive(stage, batch([*at(1), *at(2, key="b")]))
    clock.advance(10)
    sink.take(stage.tick(0.0))
    sink.take(stage.tick(0.0))
    clock.advance(10)
    sink.take(stage.process(batch(at(3), first=2)))
    sink.take(stage.tick(0.0))
    early = [row[1:] for row in counts(sink)]
    assert early == [("a", 0, 1), ("b", 0, 1), ("a", 1, 2)]
    assert sink.order[0]["id"] == sink.order[2]["id"], "a session that has grown is the same one"
    sink.take(stage.process(batch(at(200, key="c"), first=3)))
    assert [row[1:] for row in counts(sink)[3:5]] in (
        [("a", 2, 2), ("b", 1, 1)],
        [("b", 1, 1), ("a", 2, 2)],
    )


def test_panes_go_on_after_a_restart() -> None:
    stage = tumbling(early_events=1)
    drive(stage, batch(at(1)), batch(at(2), first=1))
    rows = [(p, k, v) for p, k, v in stage.take_changes() if v is not None]
    again = tumbling(early_events=1)
    again.assign(["e:0"], rows)
    sink = drive(again, batch(at(3), first=2), batch(at(11), first=3))
    assert counts(sink) == [(0, "a", 2, 3), (10, "a", 0, 1), (0, "a", 3, 3)]


# --- joins ---


def join(**settings: Any) -> Any:
    names = {"left": "clicks", "right": "orders", "on": ["k"]}
    return make(JoinStage, **{**names, "within": "10s", "out_of_orderness": "0s", **settings})


def shown(sink: Sink) -> list[tuple[Any, Any, Any]]:
    return [
        (row["left"] and row["left"]["v"], row["right"] and row["right"]["v"], row["time_diff"])
        for row in sink.order
    ]


def test_unmatched_events_wait_for_window_and_lateness() -> None:
    stage = join(kind="left", allowed_lateness="5s")
    sink = drive(
        stage,
        batch([Event(0, "a", "l", "clicks"), Event(0, "b", "l2", "clicks")]),
        batch([Event(9_000, "b", "r", "orders"), Event(15_000, "c", "r2", "orders")], first=2),
    )
    assert shown(sink) == [("l2", "r", 9_000)]
    sink.take(stage.process(batch([Event(15_001, "c", "r3", "orders")], first=4)))
    sink.take(stage.tick(0.0))
    assert shown(sink)[1:] == [("l", None, None)]
    assert sink.order[1]["key"] == {"k": "a"}


@pytest.mark.parametrize("first", ["clicks", "orders"])
def test_streams_that_were_one_do_not_make_each_other_late(first: str) -> None:
    """A split sends on one share of a poll after the other, whatever their times."""
    second = "orders" if first == "clicks" else "clicks"
    stage = join()
    sink = Sink()
    sink.take(stage.process(batch([Event(0, "a", 1, first), Event(60_000, "b", 2, first)])))
    sink.take(stage.process(batch([Event(1_000, "a", 3, second)])))
    sink.take(stage.tick(0.0))
    assert len(shown(sink)) == 1
    assert not sink.rejects
    sink.take(stage.process(batch([Event(2_000, "a", 4, second)], first=3)))
    assert [reject.reason for reject in sink.rejects] == ["late"]


def test_join_fields_may_have_other_names_on_the_right() -> None:
    stage = join(right_on=["v"])
    sink = drive(
        stage,
        batch([Event(0, "u1", "x", "clicks")]),
        batch([Event(1_000, "other", "u1", "orders")], first=1),
    )
    assert shown(sink) == [("x", "u1", 1_000)]


def test_an_event_without_the_fields_joins_nothing() -> None:
    metrics = RecordedMetrics()
    stage = join(kind="full", context={"metrics": metrics})
    sink = drive(
        stage,
        batch([Event(0, None, "l", "clicks")]),
        batch([Event(0, None, "r", "orders")], first=1),
        batch([Event(20_000, "x", "r", "orders")], first=2),
    )
    assert shown(sink) == [("l", None, None), (None, "r", None)]
    assert metrics.value("join_unkeyed_events_total") == 2


def test_memory_of_a_join_is_bounded_and_what_goes_is_counted() -> None:
    metrics = RecordedMetrics()
    stage = join(max_events=100, max_per_key=10, within="1000s", context={"metrics": metrics})
    drive(stage, batch([Event(n, n % 50, n, "clicks") for n in range(5_000)]))
    held = metrics.value("join_left_events") + metrics.value("join_right_events")
    assert held == 100
    assert metrics.value("join_evicted_events_total") == 4_900
    sink = drive(stage, batch([Event(6_000, 49, "r", "orders")], first=5_000))
    assert shown(sink) == [(4_949, "r", 1_051), (4_999, "r", 1_001)]


def test_late_events_of_a_join() -> None:
    stage = join(allowed_lateness="3s")
    drive(stage, batch([Event(10_000, "a", 1, "clicks")]))
    sink = drive(stage, batch([Event(7_000, "a", 2, "orders"), Event(6_999, "a", 3, "orders")]))
    assert shown(sink) == [(1, 2, -3_000)]
    assert [reject.reason for reject in sink.rejects] == ["late"]


# --- partitions ---


def test_a_window_downstream_of_a_window() -> None:
    """Its state belongs to the partition that the engine knows, and comes back with it."""
    stage = tumbling(size="100s")
    stage.assign(["e:0", "e:1"], [])
    drive(stage, batch(at(1), "minutes:e:0"), batch(at(2), "minutes:e:1"))
    changes = stage.take_changes()
    assert {partition for partition, _, _ in changes} == {"e:0", "e:1"}
    again = tumbling(size="100s")
    again.assign(["e:0", "e:1"], changes)
    sink = drive(
        again,
        batch(at(100, key="b"), "minutes:e:0", 1),
        batch(at(100, key="b"), "minutes:e:1", 1),
    )
    assert counts(sink) == [(0, "a", 0, 2)]


def test_what_moves_away_is_not_emitted() -> None:
    stage = tumbling()
    stage.assign(["e:0", "e:1"], [])
    drive(stage, batch(at(1), "e:0"), batch(at(2, key="b"), "e:1"))
    stage.revoke(["e:0"])
    assert counts(drive(stage, batch(at(11, key="b"), "e:1", 1))) == [(0, "b", 0, 1)]
    assert all(partition == "e:1" for partition, _, _ in stage.take_changes())


def test_an_aligned_partition_that_comes_later_goes_on_in_its_own_time() -> None:
    for aligned, expected in ((True, [(0, "b", 0, 1)]), (False, [])):
        stage = tumbling(aligned=aligned)
        stage.assign(["e:0"], [])
        drive(stage, batch(at(1, 100), "e:0"))
        stage.assign(["e:1"], [])
        sink = drive(stage, batch(at(2, 11, key="b"), "e:1"))
        assert counts(sink) == expected
        assert len(sink.rejects) == (0 if aligned else 2)


def test_metrics() -> None:
    metrics = RecordedMetrics()
    clock = FakeClock(START + 15_000)
    stage = tumbling(clock=clock, aggregate={"s": "sum(v)"}, context={"metrics": metrics})
    drive(stage, batch([Event(1_000, "a", "x"), Event(2_000, "b"), Event(12_000, "c", 1)]))
    assert metrics["window_emit_latency_seconds"].observed == [5.0]
    assert metrics.value("watermark_lag_seconds") == 3.0
    assert metrics.value("window_open") == 1
    assert metrics.value("window_keys") == 1
    assert metrics.value("window_values_skipped_total", aggregate="s") == 2


def test_a_batch_may_hold_several_partitions() -> None:
    made = batch(at(1, 2, 11, 12))
    spans = [Span("e:0", 0, 3, 2), Span("e:1", 0, 0, 0), Span("e:2", 0, 2, 2)]
    mixed = Batch(made.values, offsets=[0, 1, 0, 1], timestamps=made.timestamps, spans=spans)
    stage = tumbling()
    assert counts(drive(stage, mixed)) == []
    assert counts(drive(stage, batch(at(11), "e:0", 3))) == [(0, "a", 0, 2)]
