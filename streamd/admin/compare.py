"""From two readings of the metrics to what a pipeline does. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from streamd.admin.look import PipelineLook, Point
from streamd.admin.readings import Reading, Readings, latency_between
from streamd.engine.status import PipelineStatus
from streamd.telemetry.lag import WATERMARK, counts_events, tells_time

_NOTHING = Reading()

Pairs = Mapping[str, tuple[Reading, Reading]]
Gauges = Mapping[str, Mapping[str, float]]


def compare(
    name: str,
    status: PipelineStatus,
    before: Readings,
    after: Readings,
    *,
    dead: int,
    seconds: float,
) -> PipelineLook:
    """The pipeline `name` as it is now. `dead` letters and `seconds` are those in between."""
    pairs = {
        stage: (before.get((name, stage), _NOTHING), after.get((name, stage), _NOTHING))
        for stage in status.stages
    }
    rates = {stage: _rate([pair], "events", seconds) for stage, pair in pairs.items()}
    gauges = {stage: pair[1].gauges for stage, pair in pairs.items()}
    latency = latency_between(pairs.values())

    def of_role(role: str) -> float:
        return _short(sum(rates[key] for key, stage in status.stages.items() if stage.role == role))

    point = Point(
        read=of_role("source"),
        written=of_role("sink"),
        refused=_short(
            _rate(pairs.values(), "rejected_events", seconds)
            + _rate(pairs.values(), "dropped_events", seconds)
        ),
        retried=_short(_rate(pairs.values(), "retries", seconds)),
        dead=_short(dead / seconds),
        in_flight=status.in_flight_events,
        latency=_short(latency.mean) if latency else None,
        latency_p99=_short(latency.p99) if latency else None,
        lag_events=_over(sum, gauges, counts_events),
        lag_seconds=_over(max, gauges, tells_time),
        watermark_lag=_over(max, gauges, lambda name: name == WATERMARK),
    )
    return PipelineLook(
        status, point, {stage: _short(rate) for stage, rate in rates.items()}, gauges
    )


def _rate(pairs: Iterable[tuple[Reading, Reading]], counter: str, seconds: float) -> float:
    grown = sum(
        max(0.0, after.counters.get(counter, 0.0) - before.counters.get(counter, 0.0))
        for before, after in pairs
    )
    return grown / seconds


def _over(
    how: Callable[[list[float]], float], gauges: Gauges, wanted: Callable[[str], bool]
) -> float | None:
    """One number of the gauges with such names: what begins a name is the plugin's own."""
    values = [
        value for of_stage in gauges.values() for name, value in of_stage.items() if wanted(name)
    ]
    return _short(how(values)) if values else None


def _short(value: float) -> float:
    """Four digits are enough for a plot, and a fifth of the bytes."""
    return float(f"{value:.4g}")
