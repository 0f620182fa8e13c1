"""Every metric of streamd: the names exist only here, but for those that plugins add.

Children are bound once per stage and added to once per batch.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import prometheus_client as prometheus

from streamd.api import Counter, Gauge, Histogram, Reject, Rejected

_LATENCIES = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_MOST_REASONS = 200

LATENCY = "consumer_processing_duration_seconds"
"""The histogram of how long events take from their read to their delivery."""

Factory = Callable[..., Any]


class Telemetry:
    """The metrics of one daemon, in a registry of its own."""

    def __init__(self, registry: prometheus.CollectorRegistry | None = None) -> None:
        self.registry = registry or prometheus.CollectorRegistry(auto_describe=True)
        self._reasons: set[str] = set()
        self._made: dict[str, tuple[Any, tuple[str, ...]]] = {}

    def pipeline(self, pipeline: str) -> PipelineMetrics:
        return PipelineMetrics(self, pipeline)

    def forget(self, pipeline: str, stage: str | None = None) -> None:
        """Drop every series of a stage, or of a whole pipeline, that is no more: a gauge that
        stands still for ever would raise alerts for ever."""
        gone = {"pipeline": pipeline} if stage is None else {"pipeline": pipeline, "stage": stage}
        for metric, names in self._made.values():
            if gone.keys() <= set(names):
                metric.remove_by_labels(gone)

    def forget_series(self, name: str, **labels: str) -> None:
        """Drop one series: what it would tell is not known."""
        if name in self._made:
            self._made[name][0].remove_by_labels(labels)

    def exposition(self) -> tuple[bytes, str]:
        """Every metric in Prometheus' text format, and its media type."""
        return prometheus.generate_latest(self.registry), prometheus.CONTENT_TYPE_LATEST

    def of_stages(self) -> Iterator[prometheus.Metric]:
        """What is counted by stage, of histograms the latency alone: cheaper than everything."""
        for name, (metric, labels) in list(self._made.items()):
            wanted = name == LATENCY or not isinstance(metric, prometheus.Histogram)
            if wanted and {"pipeline", "stage"} <= set(labels):
                yield from metric.collect()

    def reloads(self) -> ReloadMetrics:
        return ReloadMetrics(self)

    def stage(self, pipeline: str, stage: str) -> StageMetrics:
        return StageMetrics(self, pipeline, stage)

    def counter(self, name: str, documentation: str, **labels: str) -> Counter:
        bound: Counter = self._child(prometheus.Counter, name, documentation, labels)
        return bound

    def gauge(self, name: str, documentation: str, **labels: str) -> Gauge:
        bound: Gauge = self._child(prometheus.Gauge, name, documentation, labels)
        return bound

    def histogram(self, name: str, documentation: str, **labels: str) -> Histogram:
        bound: Histogram = self._child(
            prometheus.Histogram, name, documentation, labels, buckets=_LATENCIES
        )
        return bound

    def reason(self, reason: str) -> str:
        """A label value for a reason; plugins may make up no more than so many."""
        if len(self._reasons) < _MOST_REASONS:
            self._reasons.add(reason)
        return reason if reason in self._reasons else "other"

    def _child(
        self, kind: Factory, name: str, documentation: str, labels: dict[str, str], **options: Any
    ) -> Any:
        names = tuple(sorted(labels))
        if name not in self._made:
            metric = kind(name, documentation, names, registry=self.registry, **options)
            self._made[name] = (metric, names)
        metric, made = self._made[name]
        if made != names:
            raise ValueError(f"metric {name} has the labels {made}, not {names}")
        return metric.labels(**labels) if names else metric


class ReloadMetrics:
    """How the last reload of the configuration went."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._successful = telemetry.gauge(
            "streamd_config_last_reload_successful", "0 if the last reload was refused."
        )
        self._when = telemetry.gauge(
            "streamd_config_last_reload_timestamp_seconds", "When the last reload was asked for."
        )
        self._successful.set(1)

    def done(self, accepted: bool, now: float) -> None:
        self._successful.set(1 if accepted else 0)
        self._when.set(now)


PIPELINE_STATES = ("starting", "running", "draining", "failed", "stopped", "ended")
"""`ended` is a pipeline whose sources have all come to their end: it is not down."""


class PipelineMetrics:
    """What is counted for a pipeline as a whole."""

    def __init__(self, telemetry: Telemetry, pipeline: str) -> None:
        def gauge(name: str, documentation: str) -> Gauge:
            return telemetry.gauge(name, documentation, pipeline=pipeline)

        self.up = gauge("streamd_pipeline_up", "1 while the pipeline runs.")
        told = "streamd_pipeline_state", "1 for the state that the pipeline is in."
        self._states = {
            state: telemetry.gauge(*told, pipeline=pipeline, state=state)
            for state in PIPELINE_STATES
        }
        self.in_flight_events = gauge(
            "streamd_in_flight_events", "Events read and not done yet, in all slots together."
        )
        self.in_flight_bytes = gauge(
            "streamd_in_flight_bytes", "Bytes of events read and not done yet."
        )
        self.epoch_age = gauge(
            "streamd_epoch_age_seconds", "Age of the oldest epoch that is not complete."
        )
        self.held = gauge("streamd_held", "1 while back-pressure keeps the sources from reading.")
        self.epochs = telemetry.counter(
            "streamd_epochs_total", "Epochs completed and committed.", pipeline=pipeline
        )
        self.restarts = telemetry.counter(
            "streamd_pipeline_restarts_total", "Starts from a checkpoint.", pipeline=pipeline
        )
        self.checkpoint_duration = telemetry.histogram(
            "streamd_checkpoint_duration_seconds", "Time to store a checkpoint.", pipeline=pipeline
        )
        self.lost_commits = telemetry.counter(
            "streamd_failed_commits_total",
            "Commits that a source could not make at first.",
            pipeline=pipeline,
        )
        self._telemetry, self._pipeline = telemetry, pipeline
        self._processed = {
            status: telemetry.counter(
                "consumer_messages_processed_total", "Events by how they ended.", status=status
            )
            for status in ("success", "retried", "dlq")
        }

    def is_now(self, state: str) -> None:
        """The pipeline is in this one of `PIPELINE_STATES`."""
        for name, gauge in self._states.items():
            gauge.set(name == state)

    def backlog(self, letters: int | None) -> None:
        """So many dead letters are in their store; None: nobody can tell, so there is no series."""
        name = "dlq_backlog_size"
        what = "Dead letters in the store that the pipeline's `backlog` names."
        if letters is None:
            self._telemetry.forget_series(name, pipeline=self._pipeline)
        else:
            self._telemetry.gauge(name, what, pipeline=self._pipeline).set(letters)

    def completed(self, events: int, failed: int) -> None:
        """An epoch is complete: so many events were read in it, so many of them not stored."""
        self.epochs.inc()
        self._processed["success"].inc(max(0, events - failed))


class StageMetrics:
    """What is counted for one stage; also what a plugin may ask for metrics of its own."""

    def __init__(self, telemetry: Telemetry, pipeline: str, stage: str) -> None:
        self._telemetry = telemetry
        self._labels = {"pipeline": pipeline, "stage": stage}
        self.events = self.counter("events_total", "Events read, processed or written.")
        self.bytes = self.counter("bytes_total", "Bytes of events as they arrived.")
        self.queued = self.gauge("queue_events", "Events waiting in the slot of a sink.")
        self.healthy = self.gauge("stage_healthy", "0 while the stage does not get on.")
        self.write_duration = self.histogram("write_duration_seconds", "Time of one write.")
        self.latency = telemetry.histogram(
            LATENCY,
            "Time from an event's read to its delivery, of the oldest event of a write.",
            **self._labels,
        )
        self._retries = self.counter("retries_total", "Events tried again.")
        self._attempts = telemetry.counter(
            "dlq_retry_attempts_total", "Attempts that followed a failure."
        )
        self._retried = telemetry.counter(
            "consumer_messages_processed_total", "Events by how they ended.", status="retried"
        )
        self._buried = telemetry.counter(
            "consumer_messages_processed_total", "Events by how they ended.", status="dlq"
        )

    def counter(self, name: str, documentation: str, **labels: str) -> Counter:
        return self._telemetry.counter(f"streamd_{name}", documentation, **self._labels, **labels)

    def gauge(self, name: str, documentation: str, **labels: str) -> Gauge:
        return self._telemetry.gauge(f"streamd_{name}", documentation, **self._labels, **labels)

    def histogram(self, name: str, documentation: str, **labels: str) -> Histogram:
        return self._telemetry.histogram(f"streamd_{name}", documentation, **self._labels, **labels)

    def exposition(self) -> tuple[bytes, str]:
        return self._telemetry.exposition()

    def rejected(self, error: Rejected) -> None:
        for reason, rows in Tally(reject.reason for reject in error.rows.values()).items():
            self.counter(
                "rejected_events_total", "Events refused.", reason=self._telemetry.reason(reason)
            ).inc(rows)

    def validation_failed(self, rejects: Iterable[Reject]) -> None:
        for reason, rows in Tally(reject.reason for reject in rejects).items():
            self._telemetry.counter(
                "consumer_validation_failures_total",
                "Events that failed validation.",
                reason=self._telemetry.reason(reason),
            ).inc(rows)

    def retried(self, rows: int) -> None:
        self._retries.inc(rows)
        self._retried.inc(rows)
        self._attempts.inc()

    def dead_lettered(self, error_types: Tally[str]) -> None:
        for error_type, rows in error_types.items():
            self._telemetry.counter(
                "dlq_messages_total", "Dead letters.", error_type=error_type
            ).inc(rows)
            self._buried.inc(rows)

    def dropped(self, reason: str, rows: int) -> None:
        self.counter(
            "dropped_events_total", "Events dropped.", reason=self._telemetry.reason(reason)
        ).inc(rows)
