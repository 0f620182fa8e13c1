"""The windows without a pipeline."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.testing import sample_event
from streamd_windows import (
    SessionWindow,
    StreamAggregator,
    StreamJoiner,
    StreamProcessor,
    TimeWindow,
)


def test_time_window_keeps_the_last_duration() -> None:
    window = TimeWindow(duration_seconds=60)
    for second in (0, 30, 59, 20, 61):
        window.add_event({"at": second}, second)
    assert [event["at"] for event in window.get_events()] == [20, 30, 59, 61]
    window.add_event("late", 0.5)
    assert len(window.get_events()) == 4


def test_time_window_is_ready_once_per_slide() -> None:
    assert TimeWindow(60).is_ready(current_time=100, last_trigger=40)
    assert not TimeWindow(60).is_ready(current_time=99, last_trigger=40)
    assert TimeWindow(60, slide_seconds=10).is_ready(50, 40)
    assert TimeWindow(60).is_ready(0, None)
    assert TimeWindow(60).get_events() == []


@given(st.lists(st.integers(0, 300)), st.integers(1, 100))
def test_time_window_holds_what_it_shows(times: list[int], size: int) -> None:
    window = TimeWindow(size, max(1, size // 3))
    for time in times:
        window.add_event(time, time)
    shown = window.get_events()
    wanted = sorted(t for t in times if t > max(times) - size)
    # An event that had left the window when it came is gone, even if nothing else is.
    assert shown == wanted


@pytest.mark.parametrize(("duration", "slide"), [(0, None), (10, 11), (10, 0)])
def test_time_window_refuses_nonsense(duration: float, slide: float | None) -> None:
    with pytest.raises(ValueError, match="0 < slide <= duration"):
        TimeWindow(duration, slide)


def test_session_ends_after_the_timeout() -> None:
    window = SessionWindow(session_timeout_seconds=30)
    for second in (0, 10, 35):
        window.add_event({"at": second}, "s1", second)
    window.add_event({"at": 5}, "s2", 5)
    session = window.get_session("s1")
    assert session is not None
    assert [event["at"] for event in session["events"]] == [0, 10, 35]
    assert (session["start"], session["end"], session["duration"]) == (0, 65, 35)
    window.add_event({"at": 65}, "s1", 65)
    session = window.get_session("s1")
    assert session is not None
    assert [event["at"] for event in session["events"]] == [65], "the timeout itself ends it"
    assert window.get_session("nobody") is None


def test_a_session_gives_back_what_was_added() -> None:
    window, event = SessionWindow(10), object()
    window.add_event(event, "s1", 0)
    session = window.get_session("s1")
    assert session is not None
    assert session["events"] == [event]
    assert window.close_expired(20)[0]["events"] == [event]


def test_session_is_merged_by_an_event_in_between() -> None:
    window = SessionWindow(10)
    for second in (0, 15, 8):
        window.add_event(second, "s", second)
    session = window.get_session("s")
    assert session is not None
    assert session["events"] == [0, 8, 15]
    assert len(window) == 1


def test_sessions_that_have_expired_are_given_and_forgotten() -> None:
    window = SessionWindow(10)
    window.add_event("a", "s1", 0)
    window.add_event("b", "s2", 5)
    assert [row["events"] for row in window.close_expired(12)] == [["a"]]
    assert window.get_session("s1") is None
    assert len(window) == 1


def test_aggregator() -> None:
    aggregator = StreamAggregator()
    assert [aggregator.count("a"), aggregator.count("a"), aggregator.count("b")] == [1, 2, 1]
    assert aggregator.sum("a", 1) == 1
    assert [aggregator.sum("x", 0.1) for _ in range(10)][-1] == 1.0
    with pytest.raises(ValueError, match="not a number"):
        aggregator.sum("a", "1")  # type: ignore[arg-type]
    for page in ("/", "/a", "/", "/b", "/", "/a"):
        aggregator.group_count("pages", page)
    assert aggregator.top_k("pages", 2) == [("/", 3), ("/a", 2)]
    assert aggregator.top_k("nothing", 2) == []
    assert [aggregator.group_count("flags", key) for key in (True, 1, True)] == [1, 1, 2]
    assert aggregator.top_k("flags", 2) == [(True, 2), (1, 1)]
    assert aggregator.top_k("flags", 1)[0][0] is True
    with pytest.raises(ValueError, match="no key"):
        aggregator.group_count("flags", None)


def test_joiner_pairs_what_is_close() -> None:
    joiner = StreamJoiner(join_window_seconds=60)
    joiner.add_left("u1", {"click": 1}, 100)
    joiner.add_right("u1", {"order": 1}, 130)
    joiner.add_right("u1", {"order": 2}, 161)
    joiner.add_right("u2", {"order": 3}, 101)
    joiner.add_left("u2", {"click": 2}, 110)
    pairs = joiner.get_joined_events()
    assert [(p["left"], p["right"], p["time_diff"]) for p in pairs] == [
        ({"click": 1}, {"order": 1}, 30),
        ({"click": 2}, {"order": 3}, 9),
    ]
    assert joiner.get_joined_events() == pairs, "looking takes nothing away"


def test_joiner_lets_go_of_what_is_old() -> None:
    joiner = StreamJoiner(10)
    for second in range(10_000):
        joiner.add_left("u", second, second)
    assert len(joiner._buffer) <= 21
    joiner.add_right("u", "r", 9_999)
    joiner.add_right("v", "r", 10_100)
    assert joiner.get_joined_events() == []


def test_processor() -> None:
    processor = StreamProcessor(window_duration=60)
    moment = datetime(2025, 11, 19, 10, 30, tzinfo=UTC)
    for number in range(10):
        stamp = moment.replace(minute=30 + number).isoformat()
        processor.process_event({**sample_event(number), "timestamp": stamp})
    processor.process_event({"payload": "odd"})
    stats = processor.get_stats()
    assert stats["events"] == 11
    assert stats["window_count"] == 1
    assert stats["active_sessions"] == 7
    assert stats["top_sources"] == [("web_app", 10)]
    with pytest.raises(ValueError, match="RFC 3339"):
        processor.process_event({"timestamp": "yesterday"})
