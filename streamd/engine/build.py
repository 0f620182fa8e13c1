"""A life of a pipeline put together: what stays for all of it, and the first wiring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
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
from streamd.engine.suspects import Suspects
from streamd.engine.undelivered import Undelivered
from streamd.engine.wiring import Fixtures, Wiring, wire
from streamd.settings.model import PipelineSpec
from streamd.telemetry.sampling import Sampler

_SETTLES_IN = 10.0
"""Seconds that a life which a step has ended may take to store what came before."""

_LOOK_AGAIN = 0.5


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
    suspects: Suspects,
) -> Parts:
    """Everything of a pipeline, from where its last checkpoint was.

    Raises ConfigError if a stage finds a setting wrong or the wiring cannot be.
    """
    log = structlog.get_logger().bind(pipeline=spec.name)
    ledger = Ledger(last.epoch + 1, anyio.current_time())
    intake = Intake(spec.options, ledger, suspects)
    saving, sources = anyio.Lock(), _Sources(intake)
    assignment = Assignment(
        spec.name, spec.options, intake=intake, store=around.store, saving=saving, log=log
    )
    stages = make_stages(spec, around, lambda source: _Control(source, assignment))
    undelivered = _undelivered(spec.name, around, ledger, sources)
    fixtures = Fixtures(
        around=around,
        ledger=ledger,
        undelivered=undelivered,
        progressed=intake.progress.set,
        sleep=sleep,
        suspects=suspects,
        comes_again=sources.comes_again,
        settled=partial(_settled, ledger, intake),
    )
    wiring = wire(stages, fixtures)
    parts = Parts(around, ledger, intake, assignment, undelivered, saving, fixtures, stages, wiring)
    parts.adopt(stages, wiring)
    sources.parts = parts
    return parts


def _undelivered(
    pipeline: str, around: Surroundings, ledger: Ledger, sources: _Sources
) -> Undelivered:
    return Undelivered(
        pipeline,
        lines={},
        ledger=ledger,
        spill=Spill(around.state_dir, pipeline),
        telemetry=around.telemetry,
        clock=around.clock,
        sampler=Sampler(anyio.current_time),
        config_digest=around.config_digest,
        settles=sources.settles,
        answers=sources.answers,
        log=structlog.get_logger().bind(pipeline=pipeline),
    )


class _Sources:
    """What the parts of a pipeline ask about the source of a partition."""

    parts: Parts

    def __init__(self, intake: Intake) -> None:
        self._owners = intake.owners

    def settles(self, partition: str) -> bool:
        return isinstance(self._of(partition), Settles)

    def answers(self, partition: str) -> bool:
        source = self._of(partition)
        return isinstance(source, Settles) and source.answers_rejects

    def comes_again(self, partition: str) -> bool:
        while partition not in self._owners and ":" in partition:
            partition = partition.split(":", 1)[1]  # a step's own, made of a source's
        source = self._of(partition)
        return source is None or source.resumes

    def _of(self, partition: str) -> Any:
        owner = self._owners.get(partition)
        return self.parts.stages.sources.get(owner) if owner else None


async def _settled(ledger: Ledger, intake: Intake) -> None:
    with anyio.move_on_after(_SETTLES_IN):
        while ledger.unfinished:
            intake.flush()
            await intake.progress.wait(_LOOK_AGAIN)
