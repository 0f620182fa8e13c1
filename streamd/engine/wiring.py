"""Stages wired to each other: the chain, the slots, and each stage's way with failures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import structlog

from streamd.api import Policy, Stateful, Timed
from streamd.engine.chain import (
    Chain,
    Decode,
    Entry,
    Line,
    Node,
    Stop,
    TimedStep,
    decoder_for,
)
from streamd.engine.failure import SPILL, DeadLetterReader, Health, Resolver
from streamd.engine.ledger import Ledger
from streamd.engine.plan import Route, dead_letter_streams, feeds, readable_streams, routes
from streamd.engine.single import Feeder
from streamd.engine.slot import Slot
from streamd.engine.stages import Stages, Surroundings
from streamd.engine.suspects import Suspects
from streamd.engine.undelivered import Undelivered
from streamd.settings.model import MAIN, StageSpec


@dataclass(frozen=True)
class Fixtures:
    """What stays through every version of the wiring. `sleep` is what a failing step waits with;
    `comes_again` and `settled` are those of `Feeder`."""

    around: Surroundings
    ledger: Ledger
    undelivered: Undelivered
    progressed: Callable[[], None]
    sleep: Callable[[float], Awaitable[None]]
    suspects: Suspects
    comes_again: Callable[[str], bool]
    settled: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Wiring:
    """One version of it. `state_keys` are those of the stateful steps, `feeds` says by step which
    sources reach it."""

    chain: Chain
    entries: dict[str, Entry]
    lines: dict[str, Line]
    slots: dict[str, Slot]
    resolvers: dict[str, Resolver]
    stateful: dict[str, Stateful]
    state_keys: dict[str, str]
    feeds: dict[str, frozenset[str]]
    timed: list[TimedStep]


def wire(stages: Stages, fixtures: Fixtures, old: Wiring | None = None) -> Wiring:
    """Wire the stages; the slots of sinks that were there before stay, with all that they hold.

    Raises ConfigError if the wiring cannot be.
    """
    plan = routes(stages.spec)
    wirer = _Wirer(stages, fixtures, old)
    slots = {spec.id: wirer.slot(spec) for spec in stages.spec.sinks}
    nodes = {spec.id: wirer.node(spec) for spec in stages.spec.steps}
    lines = {stream: _line(route, nodes, slots) for stream, route in plan.items()}
    entries = {spec.id: wirer.entry(spec, lines) for spec in stages.spec.sources}
    stateful: dict[str, Stateful] = {
        name: step for name, step in stages.steps.items() if isinstance(step, Stateful)
    }
    return Wiring(
        chain=Chain(lines, entries, fixtures.undelivered.unread),
        entries=entries,
        lines=lines,
        slots=slots,
        resolvers=wirer.resolvers,
        stateful=stateful,
        state_keys={s.id: s.config.state_key() for s in stages.spec.steps if s.id in stateful},
        feeds=feeds(stages.spec),
        timed=list(_timed(stages, plan, wirer.resolvers)),
    )


class _Wirer:
    """Makes the resolvers, and around them slots and nodes."""

    def __init__(self, stages: Stages, fixtures: Fixtures, old: Wiring | None) -> None:
        self.resolvers: dict[str, Resolver] = {}
        self._stages = stages
        self._fixtures = fixtures
        self._old = old
        self._readable = readable_streams(stages.spec)
        self._dead = dead_letter_streams(stages.spec)
        self._log = structlog.get_logger().bind(pipeline=stages.spec.name)

    def slot(self, spec: StageSpec) -> Slot:
        """The sink's slot. One that stays is not touched before `Slot.refit`."""
        reads_dead_letters = bool(self._dead & set(spec.inputs))
        policies: list[Policy] = self._stages.policies[spec.id]
        if reads_dead_letters:
            policies = [*(policies if spec.policies else ()), DeadLetterReader()]
        resolver = self._resolver(
            spec,
            policies=policies,
            sleep=anyio.sleep,
            buries_into=SPILL if reads_dead_letters else None,
        )
        sink, old = self._stages.sinks[spec.id], self._old
        slot = None if old is None else old.slots.get(spec.id)
        return slot or Slot(
            sink,
            self._stages.codecs.get(spec.id),
            limits=spec.batch or sink.batch,
            resolver=resolver,
            ledger=self._fixtures.ledger,
            progressed=self._fixtures.progressed,
            metrics=resolver.metrics,
        )

    def node(self, spec: StageSpec) -> Node:
        step, fixtures = self._stages.steps[spec.id], self._fixtures
        resolver = self._resolver(
            spec,
            policies=self._stages.policies[spec.id],
            sleep=fixtures.sleep,
            keeps_state=isinstance(step, Stateful),
        )
        feeder = None
        if resolver.keeps_state:
            found = fixtures.suspects, fixtures.comes_again, fixtures.settled
            feeder = Feeder(resolver, *found)
        return Node(step, resolver, resolver.metrics, spec.output, feeder)

    def entry(self, spec: StageSpec, lines: Mapping[str, Line]) -> Entry:
        """How a source's batches are decoded; by the first validator where it can do both."""
        stream, codec = spec.output or MAIN, self._stages.codecs[spec.id]
        stops = lines[stream].stops if stream in lines else ()
        fused = decoder_for(codec, stops[0].node.step) if stops and not stops[0].taps else None
        outlet = self._fixtures.around.outlets.of(self._stages.spec.name, spec.id)
        if fused is not None:
            first = stops[0].node
            metrics = first.resolver.metrics
            node = Node(fused, first.resolver, metrics, first.output, first.feeder)
            return Entry(node, stream, 1, codec, outlet)
        resolver = self._resolver(
            spec, policies=self._stages.policies[spec.id], sleep=self._fixtures.sleep
        )
        return Entry(Node(Decode(codec), resolver, resolver.metrics), stream, 0, codec, outlet)

    def _resolver(self, spec: StageSpec, **options: Any) -> Resolver:
        fixtures, pipeline = self._fixtures, self._stages.spec.name
        undelivered = fixtures.undelivered
        before = None if self._old is None else self._old.resolvers.get(spec.id)
        resolver = Resolver(
            pipeline=pipeline,
            stage=spec.id,
            role=spec.role,
            readable=self._readable,
            bury=undelivered.bury,
            forgive=undelivered.forgive,
            dropped=undelivered.dropped,
            metrics=fixtures.around.telemetry.stage(pipeline, spec.id),
            log=self._log.bind(stage=spec.id),
            outlet=fixtures.around.outlets.of(pipeline, spec.id),
            health=Health() if before is None else before.health,
            **options,
        )
        self.resolvers[spec.id] = resolver
        return resolver


def _line(route: Route, nodes: Mapping[str, Node], slots: Mapping[str, Slot]) -> Line:
    return Line(
        [Stop(nodes[hop.step.id], hop.taps) for hop in route.hops],
        [slots[sink.id] for sink in route.sinks],
    )


def _timed(
    stages: Stages, plan: Mapping[str, Route], resolvers: Mapping[str, Resolver]
) -> Iterator[TimedStep]:
    """What a step makes of time goes on behind it where it rewrites its stream."""
    for spec in stages.spec.steps:
        step = stages.steps[spec.id]
        if not isinstance(step, Timed):
            continue
        stream = spec.output or (spec.inputs[0] if spec.inputs else MAIN)
        hops = [hop.step.id for hop in plan[stream].hops] if stream in plan else []
        first = hops.index(spec.id) + 1 if spec.id in hops else 0
        yield TimedStep(step, stream, first, resolvers[spec.id].outlet)
