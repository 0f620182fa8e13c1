"""What is measured, against metrics that were set by hand."""

import math
from collections.abc import Mapping
from typing import Any, cast

import pytest
from msgspec.structs import replace

from streamd.admin.readings import Reading, latency_between, quantile, read
from streamd.admin.sampler import EVERY, Sampler
from streamd.engine.status import PipelineStatus, StageStatus
from streamd.engine.supervisor import Supervisor
from streamd.telemetry.metrics import Telemetry
from streamd.testing import FakeClock


class Told:
    """Stands for a supervisor: `status` is what it says."""

    def __init__(self) -> None:
        self.now = PipelineStatus(
            "running",
            True,
            [],
            stages={
                "in": StageStatus("source", "kafka"),
                "sum": StageStatus("window", "tumbling"),
                "out": StageStatus("sink", "file"),
            },
        )

    def status(self) -> PipelineStatus:
        return replace(self.now)


class Bench:
    """A sampler with its clock, its metrics and one pipeline."""

    def __init__(self) -> None:
        self.clock = FakeClock(1_000_000)
        self.telemetry = Telemetry()
        self.told = Told()
        self.supervisors: dict[str, Any] = {"events": self.told}
        self.sampler = Sampler(
            self.telemetry, cast("Mapping[str, Supervisor]", self.supervisors), self.clock
        )

    def later(self, seconds: float = EVERY) -> Any:
        self.clock.now += int(seconds * 1000)
        self.sampler.sample()
        return self.sampler.latest["events"]

    def stage(self, name: str) -> Any:
        return self.telemetry.stage("events", name)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_rates_are_per_second_since_the_last_time(bench: Bench) -> None:
    bench.stage("in").events.inc(5000)  # before anybody looked
    assert bench.later().now.read == 0
    bench.stage("in").events.inc(300)
    bench.stage("out").events.inc(200)
    bench.stage("in").retried(8)
    bench.stage("in").counter("rejected_events_total", "Events refused.", reason="a").inc(2)
    bench.stage("in").counter("rejected_events_total", "Events refused.", reason="b").inc(4)
    bench.stage("out").dropped("full", 4)
    look = bench.later(4)
    assert look.rates == {"in": 75, "sum": 0, "out": 50}
    point = look.now
    assert (point.read, point.written, point.retried, point.refused) == (75, 50, 2, 2.5)
    assert bench.later().now.read == 0


def test_dead_letters_of_a_pipeline_that_started_anew_count_from_nothing(bench: Bench) -> None:
    for buried, expected in ((10, 0), (14, 2), (6, 3), (6, 0)):
        bench.told.now.dead_lettered = buried
        assert bench.later().now.dead == expected


def test_a_latency_is_that_of_the_deliveries_in_between(bench: Bench) -> None:
    bench.stage("out").latency.observe(50)
    assert bench.later().now.latency is None
    for _ in range(99):
        bench.stage("out").latency.observe(0.002)
    bench.stage("out").latency.observe(0.02)
    point = bench.later().now
    assert point.latency == pytest.approx(0.00218)
    assert point.latency_p99 == pytest.approx(0.005)
    assert bench.later().now.latency is None


def test_lag_is_known_by_the_endings_of_names(bench: Bench) -> None:
    assert bench.later().now.lag_events is None
    for partition, records, seconds in (("a", 7, 3), ("b", 5, 9)):
        gauge = bench.stage("in").gauge
        gauge("kafka_lag_records", "Records not read yet.", partition=partition).set(records)
        gauge("kafka_lag_seconds", "Age.", partition=partition).set(seconds)
    bench.stage("sum").gauge("watermark_lag_seconds", "Behind.").set(90)
    bench.stage("sum").gauge("window_open", "Open.").set(3)
    look = bench.later()
    assert (look.now.lag_events, look.now.lag_seconds, look.now.watermark_lag) == (12, 9, 90)
    assert look.gauges["sum"] == {"watermark_lag_seconds": 90, "window_open": 3}


def test_a_gauge_in_parts_that_have_no_sum_is_left_out(bench: Bench) -> None:
    for part in ("a", "b"):
        bench.stage("in").gauge("quality_ratio", "How good.", check=part).set(0.5)
    assert bench.later().gauges["in"] == {}


def test_what_the_status_has_is_not_told_twice(bench: Bench) -> None:
    bench.stage("out").queued.set(4)
    bench.stage("out").healthy.set(1)
    assert bench.later().gauges["out"] == {}


def test_history_tells_what_is_new_and_what_was_not_there(bench: Bench) -> None:
    bench.later()
    first = bench.sampler.time
    bench.supervisors["more"] = Told()
    bench.later()
    whole = bench.sampler.history()
    assert whole.times == [first, first + EVERY]
    assert whole.pipelines["events"]["read"] == [0, 0]
    assert whole.pipelines["more"]["read"] == [None, 0]
    assert bench.sampler.history(first).times == [first + EVERY]
    del bench.supervisors["events"]
    bench.sampler.sample()
    assert set(bench.sampler.history().pipelines) == {"more"}


def test_only_the_last_minutes_are_kept(bench: Bench) -> None:
    for _ in range(400):
        bench.later()
    times = bench.sampler.history().times
    assert times[-1] - times[0] == 299 * EVERY


def test_a_clock_that_stands_still_divides_by_nothing_else(bench: Bench) -> None:
    bench.later()
    bench.stage("in").events.inc(10)
    assert bench.later(-30).now.read == 10 / (EVERY / 2)


async def test_a_fault_in_measuring_ends_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sampler shares a task group with the pipelines' signals."""
    tries = 0

    class StopError(BaseException): ...

    async def sleep(_seconds: float) -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            raise StopError

    def broken(*_args: object, **_named: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("streamd.admin.sampler.anyio.sleep", sleep)
    monkeypatch.setattr("streamd.admin.sampler.compare", broken)
    with pytest.raises(StopError):
        await bench.sampler.run()
    assert tries == 3


@pytest.mark.parametrize(
    ("buckets", "share", "value"),
    [
        ({1: 10, math.inf: 10}, 0.5, 0.5),
        ({1: 0, 2: 10, math.inf: 10}, 0.5, 1.5),
        ({1: 5, 2: 10, math.inf: 10}, 0.5, 1),
        ({1: 5, 2: 5, math.inf: 10}, 0.99, 2),
    ],
)
def test_a_quantile_is_interpolated(
    buckets: dict[float, float], share: float, value: float
) -> None:
    assert quantile(buckets, share) == pytest.approx(value)


def test_nothing_delivered_has_no_latency() -> None:
    assert latency_between([]) is None
    assert latency_between([(Reading(), Reading())]) is None


def test_metrics_that_belong_to_no_stage_are_passed_over() -> None:
    telemetry = Telemetry()
    telemetry.reloads()
    telemetry.pipeline("events")
    telemetry.counter("odd_total", "No pipeline.", stage="in").inc()
    assert read(telemetry.registry.collect()) == {}
    assert read(telemetry.of_stages()) == {}
