"""What a running pipeline tells of itself: for /status, /readyz and the log."""

from __future__ import annotations

from typing import Any

import anyio
from msgspec import Struct

from streamd.engine.pipeline import Pipeline, removed_name

_STALLED_AFTER = 30.0
"""Seconds without a commit, with events in flight, after which a pipeline is not ready."""

_ILL_AFTER = 10.0


class StageStatus(Struct):
    """One stage: `events` read, or written, in this life; `problem` is why it does not get on."""

    role: str
    plugin: str
    events: int | None = None
    queued: int | None = None
    problem: str | None = None


class PipelineStatus(Struct):
    """One pipeline as it is now. `stuck` means that nothing goes on and no stage says why."""

    state: str
    ready: bool
    problems: list[str]
    stuck: bool = False
    restarts: int = 0
    read: int = 0
    dead_lettered: int = 0
    in_flight_events: int = 0
    in_flight_bytes: int = 0
    stalled_for: float = 0.0
    stages: dict[str, StageStatus] = {}


def status_of(pipeline: Pipeline, restarts: int) -> PipelineStatus:
    """A look at a pipeline that has been built; cheap enough for every scrape."""
    parts, now = pipeline.parts, anyio.current_time()
    if parts is None:
        return PipelineStatus(pipeline.state, False, ["it is starting"], restarts=restarts)
    health = {name: runner.health for name, runner in pipeline.runners.items()}
    for name, retired in pipeline.draining.items():
        health[removed_name(name)] = retired.slot.resolver.health
    for name, committer in pipeline.committers.items():
        if committer.health.reason:
            health[name] = committer.health
    for name, resolver in parts.wiring.resolvers.items():
        if resolver.health.reason or name not in health:
            health[name] = resolver.health
    ill = {name: h.reason for name, h in health.items() if h.reason and now - h.since > _ILL_AFTER}
    problems = [f"{name}: {reason}" for name, reason in ill.items()]
    stalled = parts.intake.stalled_for
    patience = max(slot.limits.time for slot in parts.wiring.slots.values())
    if stalled > _STALLED_AFTER + patience:
        problems.append(f"nothing was committed for {stalled:.0f} s with events in flight")
    if pipeline.state != "running":
        problems.append(f"it is {pipeline.state}")
    return PipelineStatus(
        state=pipeline.state,
        ready=not problems,
        problems=problems,
        stuck=stalled > _STALLED_AFTER + patience and not ill,
        restarts=restarts,
        read=sum(runner.read for runner in pipeline.runners.values()),
        dead_lettered=parts.undelivered.buried,
        in_flight_events=parts.ledger.events,
        in_flight_bytes=parts.ledger.size,
        stalled_for=stalled,
        stages=_stages(pipeline, {name: h.reason for name, h in health.items()}),
    )


def _stages(pipeline: Pipeline, reasons: dict[str, str | None]) -> dict[str, StageStatus]:
    spec, parts = pipeline.spec, pipeline.parts
    assert parts is not None
    stages = {}
    for stage in (*spec.sources, *spec.steps, *spec.sinks):
        status = StageStatus(stage.role, stage.plugin, problem=reasons.get(stage.id))
        if stage.id in pipeline.runners:
            status.events = pipeline.runners[stage.id].read
        if stage.id in parts.wiring.slots:
            slot = parts.wiring.slots[stage.id]
            status.events, status.queued = slot.written, slot.rows
        stages[stage.id] = status
    for name, retired in pipeline.draining.items():
        removed = removed_name(name)
        slot = retired.slot
        status = StageStatus("sink", "", slot.written, slot.rows, reasons.get(removed))
        stages[removed] = status
    return stages


def fill_gauges(pipeline: Pipeline, metrics: Any, status: PipelineStatus) -> None:
    """Bring the gauges that follow the status up to date, before they are read."""
    of_pipeline = metrics.pipeline(pipeline.spec.name)
    of_pipeline.is_now(status.state)
    of_pipeline.in_flight_events.set(status.in_flight_events)
    of_pipeline.in_flight_bytes.set(status.in_flight_bytes)
    of_pipeline.epoch_age.set(status.stalled_for)
    for name, stage in status.stages.items():
        of_stage = metrics.stage(pipeline.spec.name, name)
        of_stage.healthy.set(0 if stage.problem else 1)
        if stage.queued is not None:
            of_stage.queued.set(stage.queued)
