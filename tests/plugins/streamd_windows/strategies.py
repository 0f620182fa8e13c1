"""Random streams."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from tests.plugins.streamd_windows.harness import Event, Partitions

SLACK = 5_000  # ms, the stages' out_of_orderness
seeds = st.integers(0, 2**32).map(Random)
keys = st.sampled_from(["a", "b", "c", None, 1, 2.5])
values = st.one_of(
    st.integers(-5, 5),
    st.integers(-(2**40), 2**40),
    st.floats(-1e9, 1e9, allow_nan=False).map(lambda value: round(value, 3)),
    st.none(),
)


@st.composite
def partitions(
    draw: st.DrawFn,
    *,
    disorder: int = SLACK,
    most: int = 3,
    streams: tuple[str, ...] = ("main",),
    span: int = 3_000,
) -> Partitions:
    """Up to `most` partitions of events, each at most `disorder` ms behind its latest one."""
    found = {}
    for number in range(draw(st.integers(1, most))):
        clock, events = 0, []
        for _ in range(draw(st.integers(0, 30))):
            clock += draw(st.integers(0, span))
            time = clock - draw(st.one_of(st.just(0), st.integers(0, disorder)))
            stream = draw(st.sampled_from(streams))
            events.append(Event(time, draw(keys), draw(values), stream))
        found[f"e:{number}"] = events
    return found
