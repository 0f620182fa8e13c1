"""Metrics of a window stage; each is touched once per batch or tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamd.api import Counter, StageContext
from streamd_windows.rows import Chunk, Columns

_GAUGES = {
    "window_open": "Windows that hold events.",
    "window_keys": "Keys held, counted per window pane and partition.",
    "join_left_events": "Events of the left stream that wait for a partner.",
    "join_right_events": "Events of the right stream that wait for a partner.",
}

_COUNTERS = {
    "join_evicted_events_total": "Events let go before their time, because too many waited.",
    "join_unkeyed_events_total": "Events without the fields that a join compares.",
}


class Meters:
    """Binds the metrics once and adds to them."""

    def __init__(
        self, context: StageContext, counted: dict[str, int], columns: Columns | None
    ) -> None:
        metrics = context.metrics
        self._lag = metrics.gauge(
            "watermark_lag_seconds", "How far the watermark is behind the wall clock."
        )
        self._late = metrics.counter(
            "window_late_events_total", "Events that came after their windows had closed."
        )
        self._latency = metrics.histogram(
            "window_emit_latency_seconds", "From the end of a window to its result, by wall clock."
        )
        self._gauges = {
            name: metrics.gauge(name, text)
            for name, text in _GAUGES.items()
            if name.startswith("window") == (columns is not None)
        }
        self._counted = counted
        self._counters = {name: metrics.counter(name, _COUNTERS[name]) for name in counted}
        self._columns = columns
        self._skipped = {
            name: metrics.counter(
                "window_values_skipped_total",
                "Values that an aggregate could not use: missing, or not of its kind.",
                aggregate=name,
            )
            for name in (columns.names if columns else ())
        }

    def late(self, count: int) -> None:
        self._late.inc(count)

    def emitted(self, chunks: Sequence[Chunk], now: int) -> None:
        """Results of one batch: the latest window speaks for all."""
        ends = [chunk.times[-1] for chunk in chunks if chunk.times]
        if ends:
            self._latency.observe(max(0.0, (now - max(ends)) / 1000))

    def held(self, gauges: Mapping[str, int], watermark: int | None, now: int) -> None:
        """What is held now."""
        if watermark is not None:
            self._lag.set((now - watermark) / 1000)
        for name, value in gauges.items():
            self._gauges[name].set(value)
        _drain(self._counted, self._counters)
        if self._columns:
            _drain(self._columns.take_skipped(), self._skipped)


def _drain(counts: dict[str, int], counters: Mapping[str, Counter]) -> None:
    for name, count in counts.items():
        if count:
            counters[name].inc(count)
            counts[name] = 0
