"""Another version of a running pipeline, put in its place between two batches.

What means the same stays as it is: a source keeps its membership, a step its state, a slot its
queue. Everything new is opened first; if anything fails, the pipeline goes on as it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import anyio
import structlog

from streamd.api import ConfigError
from streamd.engine.build import Parts
from streamd.engine.pipeline import Pipeline
from streamd.engine.stages import Stages, make_stages
from streamd.engine.store import StateRow
from streamd.engine.wiring import Wiring, wire
from streamd.settings.diff import diff_pipelines
from streamd.settings.model import PipelineSpec, StageSpec

_SOURCE_LEAVES_IN = 30.0
"""Seconds that a source which is replaced may take to finish what it has in flight."""


class ReloadRefusedError(Exception):
    """The new version cannot take over; the old one goes on. The message says why."""


async def reload(pipeline: Pipeline, spec: PipelineSpec, config_digest: str = "") -> float:
    """Run by another specification from now on; returns how long the chain stood still (seconds).

    Raises ReloadRefusedError, and leaves everything as it was.
    """
    parts, keeper = pipeline.parts, pipeline.keeper
    if parts is None or keeper is None or pipeline.state != "running":
        raise ReloadRefusedError(f"{spec.name} is {pipeline.state}")
    try:
        stages = parts.make_stages(spec)
        wiring = wire(stages, parts.fixtures, parts.wiring)
    except ConfigError as error:
        raise ReloadRefusedError(str(error)) from error
    change = _Change(pipeline, parts, stages, wiring)
    change.refuse_what_cannot_be()
    await change.refuse_lost_state()
    pipeline.reloading = True
    try:
        stood = await change.carry_out()
    finally:
        pipeline.reloaded()
    parts.undelivered.config_digest = config_digest
    return stood


class _Change:
    """From one version to the next. `old` and `new` are the objects of both by id."""

    def __init__(self, pipeline: Pipeline, parts: Parts, stages: Stages, wiring: Wiring) -> None:
        assert pipeline.keeper is not None
        self._pipeline = pipeline
        self._keeper = pipeline.keeper
        self._parts = parts
        self._stages = stages
        self._wiring = wiring
        self._before = parts.stages
        self._slots_before = parts.wiring.slots
        self._log = structlog.get_logger().bind(pipeline=stages.spec.name)
        self.opened: list[Any] = []

    def refuse_what_cannot_be(self) -> None:
        """Raises ReloadRefusedError for a sink that comes back while its queue still drains."""
        for name in self._wiring.slots.keys() & self._pipeline.draining:
            raise ReloadRefusedError(f"the sink {name} that was removed is still draining")

    async def refuse_lost_state(self) -> None:
        """Raises ReloadRefusedError where a step could not go on with the state that it has."""
        store, name = self._parts.around.store, self._stages.spec.name
        for spec in self._stages.spec.steps:
            key = self._wiring.state_keys.get(spec.id)
            held = self._parts.wiring.state_keys.get(spec.id)
            others = {held} if held else await store.state_keys(name, spec.id)
            if message := lost_state(spec, key, others):
                raise ReloadRefusedError(message)

    async def carry_out(self) -> float:
        """Open, replace sources, swap, and close what is not needed any more."""
        try:
            for stage in self._new(self._stages.sinks, self._stages.steps):
                await self._open(stage)
        except Exception as error:
            await self._close(self.opened)
            raise ReloadRefusedError(_reason(error)) from error
        stood_from = anyio.current_time()
        await self._replace_sources()
        stood = await self._swap()
        self._start_sources()
        stood = anyio.current_time() - stood_from if self._new(self._stages.sources) else stood
        await self._refit_slots()
        await self._close(self._gone(self._before.steps, self._stages.steps))
        return stood

    async def _open(self, stage: Any) -> None:
        await self._keeper.open(stage)
        self.opened.append(stage)

    async def _close(self, stages: Iterable[Any]) -> None:
        for stage in list(stages):
            await self._keeper.close(stage)

    def _new(self, *groups: dict[str, Any]) -> list[Any]:
        """The objects of these groups that were not there before."""
        before = {id(stage) for stage in self._before.objects().values()}
        return [s for group in groups for s in group.values() if id(s) not in before]

    @staticmethod
    def _gone(before: dict[str, Any], after: dict[str, Any]) -> list[Any]:
        stay = {id(stage) for stage in after.values()}
        return [stage for stage in before.values() if id(stage) not in stay]

    # --- sources ---------------------------------------------------------------------------

    async def _replace_sources(self) -> None:
        """Two versions of a source cannot be open at once: the old leaves, the new comes."""
        leaving = {
            name: source
            for name, source in self._before.sources.items()
            if self._stages.sources.get(name) is not source
        }
        for name in leaving:
            await self._stop_reading(name)
        await self._close(leaving.values())
        for name in leaving:
            self._parts.intake.forget(self._owned_by({name}))
            self._pipeline.forget_reader(name)
        try:
            for source in self._new(self._stages.sources):
                await self._open(source)
        except Exception as error:
            await self._close(self.opened)
            await self._reopen(leaving)
            raise ReloadRefusedError(_reason(error)) from error

    async def _reopen(self, names: Iterable[str]) -> None:
        """Sources of the old version again, as new objects: they begin from their positions."""
        parts = self._parts
        again = make_stages(self._before.spec, parts.around, parts.control).sources
        for name in names:
            source = self._before.sources[name] = again[name]
            try:
                await self._keeper.open(source)
            except Exception as error:
                self._pipeline.fail(error)
                return
            self._pipeline.start_reader(name, source)

    async def _stop_reading(self, name: str) -> None:
        await self._pipeline.runners[name].stop_and_wait()
        partitions = self._owned_by({name})
        with anyio.move_on_after(_SOURCE_LEAVES_IN) as in_time:
            last = await self._parts.intake.close()
            await self._parts.intake.until_committed(last, partitions)
        if in_time.cancelled_caught:
            self._log.warning("A source is replaced with events in flight", source=name)

    def _owned_by(self, sources: Collection[str]) -> list[str]:
        owners = self._parts.intake.owners
        return [partition for partition, source in owners.items() if source in sources]

    def _start_sources(self) -> None:
        for name, source in self._stages.sources.items():
            if self._before.sources.get(name) is not source:
                self._pipeline.start_reader(name, source)

    # --- the swap ----------------------------------------------------------------------------

    async def _swap(self) -> float:
        """Between two batches: state moves to the new steps, and the new chain takes over."""
        parts = self._parts
        started = anyio.current_time()
        async with parts.intake.between_batches(), parts.saving:
            parts.intake.cut()
            for name, step in self._wiring.stateful.items():
                if parts.wiring.stateful.get(name) is not step:
                    step.assign(list(parts.intake.owners), await self._state_of(name))
            for name in parts.wiring.stateful.keys() - self._wiring.stateful.keys():
                await parts.around.store.drop_state(self._stages.spec.name, name, "")
            parts.adopt(self._stages, self._wiring)
            self._pipeline.spec = self._stages.spec
        return anyio.current_time() - started

    async def _state_of(self, step: str) -> list[StateRow]:
        """A step's state as of the cut: what is durable, and over it what is still in flight.

        A step that is new, or that is started anew, has none: what may be stored is not of now.
        """
        parts, key = self._parts, self._wiring.state_keys[step]
        if parts.wiring.state_keys.get(step) != key:
            kept = parts.wiring.state_keys.get(step, "")
            await parts.around.store.drop_state(self._stages.spec.name, step, kept)
            return []
        owned = set(parts.intake.owners)
        rows: dict[tuple[str, bytes], bytes | None] = {
            (partition, name): value
            for partition, name, value in await parts.around.store.state(
                self._stages.spec.name, step, key, owned
            )
        }
        for of, under, partition, name, value in parts.ledger.changes():
            if (of, under) == (step, key) and partition in owned:
                rows[partition, name] = value
        return [(*place, value) for place, value in rows.items() if value is not None]

    # --- sinks -------------------------------------------------------------------------------

    async def _refit_slots(self) -> None:
        specs = {spec.id: spec for spec in self._stages.spec.sinks}
        changes = diff_pipelines(self._before.spec, self._stages.spec)
        for name, slot in self._wiring.slots.items():
            if name not in self._before.sinks:
                self._pipeline.start_writer(slot)
                continue
            sink, old = self._stages.sinks[name], self._before.sinks[name]
            follows_pipeline = changes.policies and specs[name].policies is None
            if sink is old and name not in changes.changed and not follows_pipeline:
                slot.resolver = self._wiring.resolvers[name]
                continue
            limits = specs[name].batch or sink.batch
            await slot.refit(sink, limits, self._wiring.resolvers[name])
            if sink is not old:
                await self._keeper.close(old)
        for name, old in self._before.sinks.items():
            if name not in self._stages.sinks:
                self._pipeline.retire(name, self._slots_before[name], old)


def lost_state(spec: StageSpec, key: str | None, held: Collection[str]) -> str:
    """Why a step cannot go on: it has state that these settings would lose. Empty: it can.

    `key` is the state key of the new settings (None: it keeps no state), `held` those of the
    state that there is.
    """
    if key is None or spec.reset_state or not set(held) - {key}:
        return ""
    return (
        f"{spec.path}: with these settings {spec.id} would lose the state that it keeps;"
        " set reset_state = true on it to start it anew"
    )


def _reason(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
