"""A life of a pipeline put together: what stays for all of it, and the first wiring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import structlog

from streamd.api import Committed, Settles
from streamd.engine.assignment import Assignment
from streamd.engine.intake import Intake
from streamd.engine.ledger import Ledger
from streamd.engine.spill import Spill
from streamd.engine.stages import Stages, Surroundings, make_stages
from streamd.engine.store import Checkpoint
from streamd.engine.undelivered import Undelivered
from streamd.engine.wiring import Fixtures, Wiring, wire
from streamd.settings.model import PipelineSpec
from streamd.telemetry.sampling import Sampler


class _Control:
    """The engine's side of one source."""

    def __init__(self, source: str, assignment: Assignment) -> None:
        self._source = source
        self._assignment = assignment

    async def assigned(self, partitions: Mapping[str, Committed | None]) -> dict[str, int | None]:
        return await self._assignment.assigned(self._source, partitions)

    async def revoking(self, partitions: Collection[str]) -> None:
        await self._assignment.revoking(partitions)

    async def lost(self, partitions: Collection[str]) -> None:
        self._assignment.lost(partitions)


@dataclass
class Parts:
    """What runs in one life of a pipeline. A reload replaces `stages` and `wiring`."""

    around: Surroundings
    ledger: Ledger
    intake: Intake
    assignment: Assignment
    undelivered: Undelivered
    saving: anyio.Lock
    fixtures: Fixtures
    stages: Stages
    wiring: Wiring

    def make_stages(self, spec: PipelineSpec) -> Stages:
        """Another version of the stages, with the objects of those that mean the same.

        Raises ConfigError if a stage finds a setting wrong.
        """
        return make_stages(spec, self.around, self.control, self.stages)

    def control(self, source: str) -> _Control:
        return _Control(source, self.assignment)

    def adopt(self, stages: Stages, wiring: Wiring) -> None:
        """Run by this version from now on. Call it between two batches."""
        self.stages, self.wiring = stages, wiring
        self.intake.rewire(stages.spec.options, wiring)
        self.assignment.rewire(stages.spec.options, wiring)
        self.undelivered.lines = wiring.lines
        sinks = [n for n, slot in wiring.slots.items() if slot.resolver.buries_into is None]
        self.undelivered.first_sink = sinks[0] if sinks else ""


def build(
    spec: PipelineSpec,
    around: Surroundings,
    last: Checkpoint,
    sleep: Callable[[float], Awaitable[None]],
) -> Parts:
    """Everything of a pipeline, from where its last checkpoint was.

    Raises ConfigError if a stage finds a setting wrong or the wiring cannot be.
    """
    log = structlog.get_logger().bind(pipeline=spec.name)
    ledger = Ledger(last.epoch + 1, anyio.current_time())
    intake, saving = Intake(spec.options, ledger), anyio.Lock()
    assignment = Assignment(
        spec.name, spec.options, intake=intake, store=around.store, saving=saving, log=log
    )
    stages = make_stages(spec, around, lambda source: _Control(source, assignment))
    parts: Parts

    def source_of(partition: str) -> Any:
        owner = intake.owners.get(partition)
        return parts.stages.sources.get(owner) if owner else None

    def answers(partition: str) -> bool:
        source = source_of(partition)
        return isinstance(source, Settles) and source.answers_rejects

    undelivered = Undelivered(
        spec.name,
        lines={},
        ledger=ledger,
        spill=Spill(around.state_dir, spec.name),
        telemetry=around.telemetry,
        clock=around.clock,
        sampler=Sampler(anyio.current_time),
        config_digest=around.config_digest,
        settles=lambda partition: isinstance(source_of(partition), Settles),
        answers=answers,
        log=log,
    )
    fixtures = Fixtures(around, ledger, undelivered, intake.progress.set, sleep)
    wiring = wire(stages, fixtures)
    parts = Parts(around, ledger, intake, assignment, undelivered, saving, fixtures, stages, wiring)
    parts.adopt(stages, wiring)
    return parts
