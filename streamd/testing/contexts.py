"""A stage's surroundings without an engine: contexts, metrics and control that record."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import structlog

from streamd.api import Codec, Committed, Control, Reject, StageContext


class FakeClock:
    """Wall-clock time that stands still until a test moves it."""

    def __init__(self, now_ms: int = 1_763_548_200_000) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


class RecordedMetric:
    """A counter, gauge or histogram that remembers its value and what was observed."""

    def __init__(self) -> None:
        self.value = 0.0
        self.observed: list[float] = []

    def inc(self, amount: float = 1) -> None:
        self.value += amount

    def set(self, value: float) -> None:
        self.value = value

    def observe(self, amount: float) -> None:
        self.observed.append(amount)


class RecordedMetrics:
    """Metrics by name and labels: `metrics["lag_records", ("partition", "events:0")].value`."""

    def __init__(self) -> None:
        self.metrics: dict[tuple[Any, ...], RecordedMetric] = {}

    def counter(self, name: str, documentation: str, **labels: str) -> RecordedMetric:
        assert documentation, name
        return self.metrics.setdefault((name, *sorted(labels.items())), RecordedMetric())

    gauge = counter
    histogram = counter

    def validation_failed(self, rejects: Iterable[Reject]) -> None:
        for reject in rejects:
            self.counter("passed_failures", "As the engine counts.", reason=reject.reason).inc()

    def exposition(self) -> tuple[bytes, str]:
        return b"", "text/plain"

    def __getitem__(self, key: str | tuple[Any, ...]) -> RecordedMetric:
        return self.metrics[key if isinstance(key, tuple) else (key,)]

    def value(self, name: str, **labels: str) -> float:
        """The value of a metric, 0 where nobody asked for it."""
        metric = self.metrics.get((name, *sorted(labels.items())))
        return 0.0 if metric is None else metric.value


class FakeControl:
    """The engine's side of a source: answers positions and records what the source says."""

    def __init__(self, positions: Mapping[str, int] | None = None) -> None:
        self.positions = dict(positions or {})
        self.assignments: list[dict[str, Committed | None]] = []
        self.revocations: list[set[str]] = []
        self.losses: list[set[str]] = []

    async def assigned(self, partitions: Mapping[str, Committed | None]) -> dict[str, int | None]:
        self.assignments.append(dict(partitions))
        return {partition: self.positions.get(partition) for partition in partitions}

    async def revoking(self, partitions: Collection[str]) -> None:
        self.revocations.append(set(partitions))

    async def lost(self, partitions: Collection[str]) -> None:
        self.losses.append(set(partitions))


def stage_context(
    role: str = "transform",
    *,
    stage: str = "stage",
    pipeline: str = "test",
    clock: FakeClock | None = None,
    metrics: RecordedMetrics | None = None,
    control: Control | None = None,
    codec: Codec | None = None,
    state_dir: Path = Path("var"),
    inputs: tuple[str, ...] = ("main",),
    readable: frozenset[str] = frozenset({"main"}),
    extensions: Mapping[str, Mapping[str, type]] | None = None,
) -> StageContext:
    """A context in which a stage can be built and called by itself."""
    if control is None and role == "source":
        control = FakeControl()
    return StageContext(
        pipeline=pipeline,
        stage=stage,
        role=role,
        log=structlog.get_logger().bind(pipeline=pipeline, stage=stage),
        metrics=metrics or RecordedMetrics(),
        clock=clock or FakeClock(),
        state_dir=state_dir,
        inputs=() if role == "source" else inputs,
        readable=readable,
        codec=codec,
        control=control,
        extensions=extensions or {},
    )
