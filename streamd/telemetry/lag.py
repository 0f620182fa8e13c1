"""How far behind sources are, by the gauges that they keep themselves. Pure.

What begins the name of such a gauge is the plugin's own: its end says what it measures.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

_EVENTS = ("_lag_records", "_lag_events")
_SECONDS = "_lag_seconds"
WATERMARK = "watermark_lag_seconds"
"""A window's, which says nothing of what is not read yet."""


class Lag(Struct):
    """Of the partition that is furthest behind; None where no source tells."""

    events: float | None = None
    seconds: float | None = None


def counts_events(name: str) -> bool:
    """Whether a gauge of this name counts what is not read yet."""
    return name.endswith(_EVENTS)


def tells_time(name: str) -> bool:
    """Whether a gauge of this name says for how long something has not been read."""
    return name.endswith(_SECONDS) and not name.endswith(WATERMARK)


def worst(families: Iterable[Any]) -> dict[str, Lag]:
    """The lag of each pipeline that has a source which tells it."""
    lags: dict[str, Lag] = {}
    for family in families:
        counts, times = counts_events(family.name), tells_time(family.name)
        if not (counts or times):
            continue
        for sample in family.samples:
            lag = lags.setdefault(sample.labels["pipeline"], Lag())
            if counts:
                lag.events = max(sample.value, lag.events or 0.0)
            else:
                lag.seconds = max(sample.value, lag.seconds or 0.0)
    return lags
