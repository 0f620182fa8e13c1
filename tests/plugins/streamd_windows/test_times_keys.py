"""Times and keys: every form that an event may bring them in."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.api import ConfigError
from streamd.testing import batch_of
from streamd_windows.keys import canonical, key_dict, key_names, key_reader
from streamd_windows.layout import Layout
from streamd_windows.packing import key_of, pack, unpack
from streamd_windows.times import time_reader, to_ms, to_text

MOMENT = 1_763_548_200_123


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        ("2025-11-19T10:30:00.123Z", "auto"),
        ("2025-11-19T10:30:00.123999+00:00", "auto"),
        ("2025-11-19T12:00:00.123+01:30", "auto"),
        (1_763_548_200.123, "auto"),
        (1_763_548_200_123, "auto"),
        (1_763_548_200_123_456, "auto"),
        (1_763_548_200_123_456_789, "auto"),
        (1_763_548_200.123, "s"),
        (1_763_548_200_123.9, "ms"),
        (1_763_548_200_123_999, "us"),
        (1_763_548_200_123_999_999, "ns"),
        (datetime(2025, 11, 19, 10, 30, 0, 123_000, tzinfo=UTC), "auto"),
        (datetime(2025, 11, 19, 5, 30, 0, 123_000, tzinfo=timezone(timedelta(hours=-5))), "s"),
    ],
)
def test_a_time(value: Any, unit: Any) -> None:
    assert to_ms(value, unit) == MOMENT


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "now", "2025-11-19", "2025-11-19T10:30:00", True, [], {}, b"2025"),
        *(1e30, 10**30, math.nan, math.inf, -math.inf, datetime(2025, 1, 1)),
    ],
    ids=repr,
)
def test_no_time(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the message is for people
        to_ms(value)


numbers = st.one_of(
    st.integers(0, 2 * 10**18), st.integers(MOMENT - 10**6, MOMENT + 10**6), st.integers()
)


@given(
    st.lists(st.one_of(numbers, st.none()), max_size=5),
    st.sampled_from(["auto", "s", "ms", "us", "ns"]),
)
def test_the_fast_ways_agree_with_the_careful_one(found: list[Any], unit: Any) -> None:
    times, bad = time_reader("t", unit)(batch_of([{"t": value} for value in found]))
    for row, value in enumerate(found):
        try:
            expected = to_ms(value, unit)
        except (ValueError, OverflowError):
            assert row in bad
        else:
            assert (times[row], row in bad) == (expected, False)


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_a_time_as_text_is_the_same_time(ms: int) -> None:
    assert to_ms(to_text(ms)) == ms


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())
)


@given(st.lists(values))
def test_keys_come_back_from_the_store_as_they_were(found: list[Any]) -> None:
    keys = [canonical(value) for value in found]
    assert [key_of(key) for key in unpack(pack(keys))] == keys
    pairs = list(zip(keys, reversed(keys), strict=True))
    assert [key_of(key) for key in unpack(pack(pairs))] == pairs


def test_keys_are_told_apart_as_json_does() -> None:
    same = [1, 1.0, True, "1", None, "", 0, False, "true", 2**70, [1], {"b": 1, "a": 2}]
    assert len({canonical(value) for value in same}) == 11
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1})
    assert canonical(math.nan) is None
    for number in (2**53, 2**60, -(2**63)):
        assert type(canonical(float(number))) is int
        assert canonical(float(number)) == canonical(number)
    day = date(2025, 11, 19)
    assert canonical(day) == "2025-11-19" == canonical("2025-11-19")


def test_a_key_reads_what_is_there() -> None:
    read = key_reader(["a.b", "c"])
    events = [{"a": {"b": 1}, "c": "x"}, {"a": 3}, None]
    assert read(events) == [(1, "x"), (None, None), (None, None)]
    assert key_reader(["a.b"])(events) == [1, None, None]
    assert key_reader([])(events) == [None] * 3
    with pytest.raises(ConfigError) as error:
        key_reader(["a", "a b"])
    assert error.value.path == "key[1]"


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (["payload.source"], ("source",)),
        (["a.id", "b.id"], ("a.id", "b.id")),
        (['a["odd key"]'], ('a["odd key"]',)),
        (["lower(a.b)"], ("lower(a.b)",)),
    ],
)
def test_fields_have_short_names(fields: list[str], names: tuple[str, ...]) -> None:
    assert key_names(fields) == names
    if len(fields) == 1:
        assert key_dict(names, canonical(True)) == {names[0]: True}


layouts = st.tuples(st.integers(1, 50), st.integers(1, 50), st.integers(-60, 60)).map(
    lambda parts: Layout(max(parts[:2]), min(parts[:2]), parts[2])
)


@given(layouts, st.integers(-500, 500))
def test_panes_and_windows_agree(layout: Layout, time: int) -> None:
    """Against the plain definition: windows start at multiples of slide, plus offset."""
    starts = [
        start
        for start in range(time - layout.size + 1, time + 1)
        if (start - layout.offset) % layout.slide == 0
    ]
    ends = [start + layout.size for start in starts]
    pane = layout.pane_of(time)
    assert pane <= time < pane + layout.pane
    assert (layout.first_end(time), layout.last_end(time)) == (ends[0], ends[-1])
    assert list(layout.ends(pane, -(10**9), 10**9)) == ends
    assert list(layout.ends(pane, ends[0], ends[-1] - 1)) == ends[1:-1]
    assert all(pane in layout.panes(end) for end in ends)
    assert pane not in layout.panes(ends[0] - layout.slide)
    assert pane not in layout.panes(ends[-1] + layout.slide)
