"""The watermark: the lowest of the active partitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamd_windows.slices import NEVER, Slice
from streamd_windows.watermarks import BEYOND, Watermarks


def slice_of(name: str, high: int = NEVER) -> Slice:
    found = Slice(name, name, None)
    found.high = high
    return found


def test_the_slowest_partition_decides() -> None:
    marks = Watermarks(5, 60.0)
    a, b = slice_of("a"), slice_of("b")
    for each in (a, b):
        marks.add(each)
    assert marks.current() == NEVER, "both are silent: their events may be the oldest"
    assert marks.heard(a, None, [100]) == NEVER
    assert marks.heard(b, None, [50, 40]) == 95
    assert marks.current() == 45
    assert marks.heard(b, None, [200]) == 95
    assert marks.current() == 95


def test_a_silent_partition_holds_back_until_it_is_idle() -> None:
    marks = Watermarks(0, 10.0)
    a, b = slice_of("a"), slice_of("b")
    marks.add(a)
    marks.add(b)
    marks.tick(100.0)  # the first tick only tells where the engine's time stands
    marks.heard(a, None, [100])
    marks.tick(109.9)
    assert marks.current() == NEVER
    marks.heard(a, None, [101])
    marks.tick(110.0)
    assert marks.current() == 101
    marks.heard(b, None, [7])
    assert marks.current() == 7, "it has spoken again"


def test_when_all_are_idle_there_is_none() -> None:
    marks = Watermarks(0, 10.0)
    marks.add(slice_of("a", 5))
    marks.tick(0.0)
    marks.tick(10.0)
    assert marks.current() is None
    assert marks.heard_last() == 0.0


def test_an_input_not_heard_yet_holds_back_too() -> None:
    marks = Watermarks(0, 10.0, ("left", "right"))
    a = slice_of("a")
    marks.add(a)
    marks.tick(0.0)
    marks.heard(a, "left", [100])
    assert marks.current() == NEVER
    marks.heard(a, "right", [101])
    assert marks.current() == 101


def test_idle_never() -> None:
    marks = Watermarks(0, 0.0)
    marks.add(slice_of("a"))
    marks.tick(0.0)
    marks.tick(1e9)
    assert marks.current() == NEVER


def test_marks_follow_the_events() -> None:
    marks = Watermarks(5, 0.0)
    assert marks.marks(10, NEVER, BEYOND, [8, 20, 3]) == [5, 15, 15]
    assert marks.marks(NEVER, 7, 9, [8, 20, 3]) == [7, 9, 9]


steps = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 50), st.booleans()))


@given(steps)
def test_is_the_minimum_whatever_happens(script: list[tuple[str, int, bool]]) -> None:
    marks = Watermarks(3, 5.0)
    held = {name: slice_of(name) for name in "abc"}
    for each in held.values():
        marks.add(each)
    active = 0.0
    marks.tick(active)
    heard = dict.fromkeys(held, active)
    for name, time, leave in script:
        active += 1.0
        marks.tick(active)
        if leave and name in held:
            marks.remove(name)
            del held[name], heard[name]
        else:
            if name not in held:
                held[name] = slice_of(name)
                marks.add(held[name])
            lowest = marks.heard(held[name], None, [time])
            heard[name] = active
            others = [_value(held[n]) for n in held if n != name and heard[n] > active - 5]
            assert lowest == min(others, default=BEYOND)
        expected = [_value(held[n]) for n in held if heard[n] > active - 5]
        assert marks.current() == (min(expected) if expected else None)


def _value(slice_: Slice) -> int:
    return NEVER if slice_.high == NEVER else slice_.high - 3
