"""A pipeline's running parts, made from its specification. Does no I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import structlog

from streamd.api import (
    Clock,
    Codec,
    Committed,
    Policy,
    Settles,
    Sink,
    Source,
    StageContext,
    Stateful,
    Step,
    Timed,
)
from streamd.engine.assignment import Assignment
from streamd.engine.chain import Chain, Decode, Entry, Line, Node, Stop, decoder_for
from streamd.engine.failure import SPILL, DeadLetterReader, Resolver
from streamd.engine.intake import Intake, TimedStep
from streamd.engine.ledger import Ledger
from streamd.engine.plan import Route, dead_letter_streams, readable_streams, routes
from streamd.engine.slot import Slot
from streamd.engine.spill import Spill
from streamd.engine.store import Checkpoint, Store
from streamd.engine.undelivered import Undelivered
from streamd.settings.model import MAIN, PipelineSpec, PluginSpec, StageSpec
from streamd.telemetry.metrics import Telemetry
from streamd.telemetry.sampling import Sampler


@dataclass(frozen=True)
class Surroundings:
    """What the daemon lends to all of its pipelines."""

    store: Store
    telemetry: Telemetry
    clock: Clock
    state_dir: Path
    config_digest: str = ""
    extensions: Mapping[str, Mapping[str, type]] = field(default_factory=dict)


class _Control:
    """The engine's side of one source; what is behind it is known once everything is built."""

    def __init__(self, source: str, assignment: Callable[[], Assignment]) -> None:
        self._source = source
        self._assignment = assignment

    async def assigned(self, partitions: Mapping[str, Committed | None]) -> dict[str, int | None]:
        return await self._assignment().assigned(self._source, partitions)

    async def revoking(self, partitions: Collection[str]) -> None:
        await self._assignment().revoking(partitions)

    async def lost(self, partitions: Collection[str]) -> None:
        self._assignment().lost(partitions)


@dataclass
class Parts:
    """Everything that runs in one life of a pipeline."""

    sources: dict[str, Source]
    steps: dict[str, Step]
    slots: dict[str, Slot]
    resolvers: dict[str, Resolver]
    state_keys: dict[str, str]
    ledger: Ledger
    intake: Intake
    assignment: Assignment
    undelivered: Undelivered
    saving: anyio.Lock


class Builder:
    """Builds the parts of one pipeline from where its last checkpoint was."""

    def __init__(
        self,
        spec: PipelineSpec,
        around: Surroundings,
        last: Checkpoint,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._spec = spec
        self._around = around
        self._sleep = sleep
        self._log = structlog.get_logger().bind(pipeline=spec.name)
        self._readable = readable_streams(spec)
        self._dead = dead_letter_streams(spec)
        self._lines: dict[str, Line] = {}
        self._resolvers: dict[str, Resolver] = {}
        self._ledger = Ledger(last.epoch + 1, anyio.current_time())
        self._saving = anyio.Lock()
        self._undelivered = Undelivered(
            spec.name,
            lines=self._lines,
            ledger=self._ledger,
            spill=Spill(around.state_dir, spec.name),
            telemetry=around.telemetry,
            clock=around.clock,
            sampler=Sampler(anyio.current_time),
            config_digest=around.config_digest,
            settles=lambda partition: isinstance(self._source_of(partition), Settles),
            answers=self._answers,
            log=self._log,
        )

    def build(self) -> Parts:
        """Raises ConfigError if a stage finds a setting wrong or the wiring cannot be."""
        spec = self._spec
        plan = routes(spec)
        self._codecs: dict[str, Codec] = {}
        self._sources: dict[str, Source] = {s.id: self._source(s) for s in spec.sources}
        steps: dict[str, Step] = {s.id: s.build(self._context(s)) for s in spec.steps}
        slots = {s.id: self._slot(s) for s in spec.sinks}
        nodes = {s.id: self._node(s, steps[s.id]) for s in spec.steps}
        for stream, route in plan.items():
            self._lines[stream] = _line(route, nodes, slots)
        state_keys = {s.id: s.config.state_key() for s in spec.steps}
        stateful = {name: step for name, step in steps.items() if isinstance(step, Stateful)}
        self._intake = Intake(
            spec.options,
            chain=Chain(self._lines, self._entries(plan), self._undelivered.unread),
            stateful=stateful,
            timed=list(_timed(spec, steps, plan)),
            slots=slots.values(),
            ledger=self._ledger,
        )
        self._assignment = Assignment(
            spec.name,
            spec.options,
            intake=self._intake,
            stateful=stateful,
            state_keys=state_keys,
            store=self._around.store,
            saving=self._saving,
            log=self._log,
        )
        return Parts(
            sources=self._sources,
            steps=steps,
            slots=slots,
            resolvers=self._resolvers,
            state_keys=state_keys,
            ledger=self._ledger,
            intake=self._intake,
            assignment=self._assignment,
            undelivered=self._undelivered,
            saving=self._saving,
        )

    def _source_of(self, partition: str) -> Any:
        owner = self._intake.owners.get(partition)
        return self._sources.get(owner) if owner else None

    def _answers(self, partition: str) -> bool:
        source = self._source_of(partition)
        return isinstance(source, Settles) and source.answers_rejects

    def _source(self, spec: StageSpec) -> Source:
        if spec.codec is not None:
            self._codecs[spec.id] = self._codec(spec, spec.codec)
        source: Source = spec.build(
            self._context(
                spec,
                codec=self._codecs.get(spec.id),
                control=_Control(spec.id, lambda: self._assignment),
            )
        )
        return source

    def _slot(self, spec: StageSpec) -> Slot:
        codec = None if spec.codec is None else self._codec(spec, spec.codec)
        sink: Sink = spec.build(self._context(spec, codec=codec))
        extra = [DeadLetterReader()] if self._dead & set(spec.inputs) else []
        policies = [*(self._policies(spec) if spec.policies or not extra else ()), *extra]
        resolver = self._resolver(
            spec, policies, sleep=anyio.sleep, buries_into=SPILL if extra else None
        )
        return Slot(
            sink,
            limits=spec.batch or sink.batch,
            resolver=resolver,
            ledger=self._ledger,
            progressed=lambda: self._intake.progress.set(),
            metrics=resolver.metrics,
        )

    def _node(self, spec: StageSpec, step: Step) -> Node:
        resolver = self._resolver(
            spec,
            self._policies(spec),
            sleep=self._sleep,
            keeps_state=isinstance(step, Stateful),
        )
        return Node(step, resolver, resolver.metrics, spec.output)

    def _resolver(self, spec: StageSpec, policies: Sequence[Policy], **options: Any) -> Resolver:
        around, undelivered = self._around, self._undelivered
        resolver = Resolver(
            pipeline=self._spec.name,
            stage=spec.id,
            role=spec.role,
            policies=policies,
            readable=self._readable,
            bury=undelivered.bury,
            forgive=undelivered.forgive,
            dropped=undelivered.dropped,
            metrics=around.telemetry.stage(self._spec.name, spec.id),
            log=self._log.bind(stage=spec.id),
            **options,
        )
        self._resolvers[spec.id] = resolver
        return resolver

    def _policies(self, spec: StageSpec) -> list[Policy]:
        chosen = self._spec.policies if spec.policies is None else spec.policies
        return [policy.build(self._context(spec)) for policy in chosen]

    def _entries(self, plan: Mapping[str, Route]) -> dict[str, Entry]:
        """How each source's batches are decoded; by the first validator where it can do both."""
        entries = {}
        for spec in self._spec.sources:
            stream = spec.output or MAIN
            codec, stops = (
                self._codecs[spec.id],
                self._lines[stream].stops if stream in plan else (),
            )
            fused = decoder_for(codec, stops[0].node.step) if stops and not stops[0].taps else None
            if fused is not None:
                first = stops[0].node
                decoder = Node(fused, first.resolver, first.resolver.metrics, first.output)
            else:
                resolver = self._resolver(spec, self._policies(spec), sleep=self._sleep)
                decoder = Node(Decode(codec), resolver, resolver.metrics)
            entries[spec.id] = Entry(decoder, stream, 0 if fused is None else 1)
        return entries

    def _codec(self, stage: StageSpec, spec: PluginSpec) -> Codec:
        codec: Codec = spec.build(self._context(stage))
        return codec

    def _context(self, spec: StageSpec, **lent: Any) -> StageContext:
        around, pipeline = self._around, self._spec.name
        return StageContext(
            pipeline=pipeline,
            stage=spec.id,
            role=spec.role,
            log=self._log.bind(stage=spec.id),
            metrics=around.telemetry.stage(pipeline, spec.id),
            clock=around.clock,
            state_dir=around.state_dir,
            inputs=spec.inputs,
            readable=self._readable,
            extensions=around.extensions,
            **lent,
        )


def _line(route: Route, nodes: Mapping[str, Node], slots: Mapping[str, Slot]) -> Line:
    return Line(
        [Stop(nodes[hop.step.id], hop.taps) for hop in route.hops],
        [slots[sink.id] for sink in route.sinks],
    )


def _timed(
    spec: PipelineSpec, steps: Mapping[str, Step], plan: Mapping[str, Route]
) -> Iterator[TimedStep]:
    """What a step makes of time goes on behind it where it rewrites its stream."""
    for stage in spec.steps:
        step = steps[stage.id]
        if not isinstance(step, Timed):
            continue
        stream = stage.output or (stage.inputs[0] if stage.inputs else MAIN)
        hops = [hop.step.id for hop in plan[stream].hops] if stream in plan else []
        yield TimedStep(step, stream, hops.index(stage.id) + 1 if stage.id in hops else 0)
