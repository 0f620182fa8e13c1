"""The metrics of stages, read back from the registry and compared. Pure but for the reading."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

from msgspec import Struct, field

from streamd.telemetry.metrics import LATENCY

_PREFIX = "streamd_"
_IN_STATUS = frozenset({"stage_healthy", "queue_events"})
_SUMMED = ("_events", "_records", "_keys", "_bytes", "_connections", "window_open")
"""Endings of gauges that mean a whole where they are measured in parts."""


class Reading(Struct):
    """One stage's metrics: totals of counters and gauges, without `streamd_` and `_total`.

    `latency` is how many deliveries took up to so many seconds, cumulative.
    """

    counters: dict[str, float] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)
    latency: dict[float, float] = field(default_factory=dict)
    latency_sum: float = 0.0


Readings = dict[tuple[str, str], Reading]
"""By pipeline and stage."""


def read(families: Iterable[Any]) -> Readings:
    """The metrics that have the labels `pipeline` and `stage`, of a registry's families.

    A gauge in parts (one for each partition, say) is their sum where a sum means something, the
    highest where it is a time, and left out otherwise.
    """
    readings: Readings = {}
    for family in families:
        take = _TAKES.get(family.type)
        if take is None or (family.type == "histogram" and family.name != LATENCY):
            continue
        for sample in family.samples:
            labels = sample.labels
            if "stage" in labels and "pipeline" in labels:
                key = labels["pipeline"], labels["stage"]
                if (reading := readings.get(key)) is None:
                    reading = readings[key] = Reading()
                take(reading, sample, family.name.removeprefix(_PREFIX))
    return readings


def _take_gauge(reading: Reading, sample: Any, name: str) -> None:
    if name in _IN_STATUS:
        return
    if len(sample.labels) == 2:
        reading.gauges[name] = sample.value
    elif name.endswith("_seconds"):
        reading.gauges[name] = max(sample.value, reading.gauges.get(name, 0.0))
    elif name.endswith(_SUMMED):
        reading.gauges[name] = sample.value + reading.gauges.get(name, 0.0)


def _take_counter(reading: Reading, sample: Any, name: str) -> None:
    if sample.name.endswith("_total"):
        reading.counters[name] = sample.value + reading.counters.get(name, 0.0)


def _take_latency(reading: Reading, sample: Any, _name: str) -> None:
    if sample.name.endswith("_bucket"):
        reading.latency[float(sample.labels["le"])] = sample.value
    elif sample.name.endswith("_sum"):
        reading.latency_sum = sample.value


_TAKES: Mapping[str, Callable[[Reading, Any, str], None]] = {
    "gauge": _take_gauge,
    "counter": _take_counter,
    "histogram": _take_latency,
}


class Latency(Struct, frozen=True):
    """Of the deliveries between two readings, in seconds."""

    mean: float
    p99: float


def latency_between(pairs: Iterable[tuple[Reading, Reading]]) -> Latency | None:
    """Over all stages, each with its readings before and after; None if nothing was delivered."""
    buckets: dict[float, float] = {}
    seconds = 0.0
    for before, after in pairs:
        seconds += after.latency_sum - before.latency_sum
        for bound, count in after.latency.items():
            grown = count - before.latency.get(bound, 0.0)
            buckets[bound] = buckets.get(bound, 0.0) + grown
    total = buckets.get(math.inf, 0.0)
    return Latency(seconds / total, quantile(buckets, 0.99)) if total > 0 else None


def quantile(buckets: Mapping[float, float], share: float) -> float:
    """The value below which so much of a cumulative histogram lies, interpolated as Prometheus
    does; the highest finite bound where it lies beyond."""
    bounds = sorted(buckets)
    wanted = share * buckets[bounds[-1]]
    for low, high in pairwise([0.0, *bounds]):
        if buckets[high] >= wanted:
            if high == math.inf:
                return low
            below = buckets.get(low, 0.0)
            return low + (high - low) * (wanted - below) / max(buckets[high] - below, 1e-12)
    return bounds[-1]
