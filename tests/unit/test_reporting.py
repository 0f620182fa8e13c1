"""The line of `systemctl status`."""

import pytest

from streamd.engine.status import PipelineStatus
from streamd.reporting import describe
from streamd.telemetry.lag import Lag, worst
from streamd.telemetry.metrics import Telemetry


def status(*problems: str, state: str = "running", read: int = 1_234_567) -> PipelineStatus:
    return PipelineStatus(state, not problems, list(problems), read=read)


@pytest.mark.parametrize(
    ("what", "rate", "lag", "text"),
    [
        (status(), 2000.0, Lag(), "p: running, 2000/s, 1.23M read"),
        (status(), 12_345.6, Lag(0, 0), "p: running, 12.3k/s, 1.23M read, lag 0, up to date"),
        (
            status(read=7),
            0.5,
            Lag(123_456, 190.2),
            "p: running, 0.5/s, 7 read, lag 123k, 3m10s behind",
        ),
        (
            status("out: connection refused", "in: away"),
            0.0,
            Lag(3),
            "p: running, 0/s, 1.23M read, lag 3, out: connection refused",
        ),
        (
            status("it is starting", state="starting", read=0),
            0.0,
            Lag(),
            "p: starting, 0/s, 0 read",
        ),
    ],
)
def test_a_pipeline_in_a_few_words(what: PipelineStatus, rate: float, lag: Lag, text: str) -> None:
    assert describe("p", what, rate, lag) == text


def test_a_long_problem_is_cut() -> None:
    told = describe("p", status("out: " + "x" * 1000), 0, Lag())
    assert told.endswith("xxx...")
    assert len(told) < 200


def test_the_worst_partition_counts_and_each_pipeline_has_its_own() -> None:
    telemetry = Telemetry()
    for pipeline, stage, partition, events, seconds in (
        ("a", "in", "t:0", 5, 90),
        ("a", "in", "t:1", 700, 2),
        ("a", "other", "t:0", 0, 0),
        ("b", "in", "t:0", 1, 1),
    ):
        of_stage = telemetry.stage(pipeline, stage)
        of_stage.gauge("x_lag_records", "Not read.", partition=partition).set(events)
        of_stage.gauge("x_lag_seconds", "Behind.", partition=partition).set(seconds)
    telemetry.stage("a", "minutes").gauge("watermark_lag_seconds", "Behind.").set(1e6)
    telemetry.stage("c", "in").counter("events_total", "Read.").inc(7)
    assert worst(telemetry.of_stages()) == {"a": Lag(700, 90), "b": Lag(1, 1)}
    telemetry.forget("b")
    assert list(worst(telemetry.of_stages())) == ["a"]
