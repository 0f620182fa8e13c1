"""Another version of a running pipeline, put in its place between two batches.

What means the same stays as it is: a source keeps its membership, a step its state, a slot its
queue. Everything new is opened first; if that fails, the pipeline goes on as it was. If something
fails later, the pipeline starts again from its checkpoint, as it was before.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

import anyio
import structlog

from streamd.engine.build import Parts
from streamd.engine.handover import forget, hand_over
from streamd.engine.phase import ChainBusyError, ReloadRefusedError, in_life
from streamd.engine.pipeline import Pipeline, Retired
from streamd.engine.stages import Stages, make_stages
from streamd.engine.wiring import Wiring, wire
from streamd.settings.diff import diff_pipelines
from streamd.settings.model import PipelineSpec
from streamd.settings.restart import lost_state

_SOURCE_LEAVES_IN = 30.0
"""Seconds that a source which is replaced may take to finish what it has in flight."""

_OPENS_WITHIN = 60.0
"""Seconds for a new stage to open: one that never does must not block the next reload."""

_PATIENCE = 10.0
"""Seconds that the chain may be busy: a step that is tried again for ever holds it for ever."""


async def prepare(pipeline: Pipeline, spec: PipelineSpec) -> Change:
    """Check another specification and open what is new in it, beside what runs.

    Raises ReloadRefusedError if the pipeline cannot go on by it; nothing is left behind.
    """
    parts = pipeline.parts
    if parts is None or pipeline.state != "running" or pipeline.stopping:
        state = "stopping" if pipeline.stopping else pipeline.state
        raise ReloadRefusedError(f"{spec.name} is {state}")
    taken = pipeline.take_back([sink.id for sink in spec.sinks])
    try:
        stages = parts.make_stages(spec)
        slots = {name: retired.slot for name, retired in taken.items()}
        wiring = wire(
            stages, parts.fixtures, replace(parts.wiring, slots=slots | parts.wiring.slots)
        )
        change = Change(pipeline, parts, stages, wiring, taken)
        await change.refuse_lost_state()
        await in_life(pipeline, change.open_new)
    except Exception as error:
        pipeline.retire_again(taken)
        raise ReloadRefusedError(_reason(error)) from error
    return change


class Change:
    """From one version to the next. After `prepare`, call `carry_out` or `abandon`."""

    def __init__(
        self,
        pipeline: Pipeline,
        parts: Parts,
        stages: Stages,
        wiring: Wiring,
        taken: dict[str, Retired],
    ) -> None:
        assert pipeline.keeper is not None
        self.pipeline = pipeline
        self._adopted = False
        self._taken = taken
        self._keeper = pipeline.keeper
        self._parts = parts
        self._stages = stages
        self._wiring = wiring
        self._before = parts.stages
        self._wired_before = parts.wiring
        self._opened: list[Any] = []
        self._log = structlog.get_logger().bind(pipeline=stages.spec.name)

    @property
    def replaces_sources(self) -> bool:
        return self._before.sources != self._stages.sources

    async def refuse_lost_state(self) -> None:
        """Raises ReloadRefusedError where a step could not go on with the state that it has."""
        store, name = self._parts.around.store, self._stages.spec.name
        for spec in self._stages.spec.steps:
            key = self._wiring.state_keys.get(spec.id)
            held = self._wired_before.state_keys.get(spec.id)
            others = {held} if held else await store.state_keys(name, spec.id)
            if message := lost_state(spec, key, others):
                raise ReloadRefusedError(message)

    async def open_new(self) -> None:
        """Open the sinks and steps that are new, as long as nobody wants to stop."""
        try:
            with self.pipeline.until_stopped():
                for stage in self._new(self._stages.sinks, self._stages.steps):
                    await self._open(stage)
            if self.pipeline.stopping:
                raise ReloadRefusedError("the pipeline stops")
        except Exception as error:
            await self._close(self._opened)
            raise ReloadRefusedError(_reason(error)) from error

    async def abandon(self) -> None:
        """Close what was opened: the old version goes on."""
        self.pipeline.retire_again(self._taken)
        try:
            await in_life(self.pipeline, lambda: self._close(self._opened))
        except ReloadRefusedError:
            return  # it has ended, and closes everything itself

    async def carry_out(self, config_digest: str = "") -> float:
        """Take over; returns how long the chain stood still (seconds).

        Raises ReloadRefusedError if the old version goes on, or ChainBusyError.
        """
        if self.pipeline.state != "running" or self.pipeline.stopping:
            await self.abandon()
            raise ReloadRefusedError(f"{self._stages.spec.name} is {self.pipeline.state}")
        self.pipeline.reloading = True
        stood = 0.0
        try:
            stood = await in_life(self.pipeline, self._take_over)
        except (ReloadRefusedError, ChainBusyError):
            if not self._adopted:
                raise
        except Exception as error:
            # Half-way, and the checkpoint is the only thing that is whole. Once the new version
            # has taken over it is the one that starts again: state of the old is gone.
            self.pipeline.fail(error)
            if not self._adopted:
                raise ReloadRefusedError(f"{_reason(error)}; it starts again as it was") from error
        finally:
            self.pipeline.reloaded()
            if not self._adopted:
                self.pipeline.retire_again(self._taken)
        self._parts.undelivered.config_digest = config_digest
        return stood

    async def _take_over(self) -> float:
        started = anyio.current_time()
        replaced = await self._replace_sources()
        stood = await self._swap()
        self._start_sources()
        if replaced:
            stood = anyio.current_time() - started
        await self._refit_slots()
        await self._close(self._gone(self._before.steps, self._stages.steps))
        self.pipeline.forget_metrics([*self._before.sources, *self._before.steps])
        return stood

    async def _open(self, stage: Any) -> None:
        await self._keeper.open(stage, _OPENS_WITHIN)
        self._opened.append(stage)

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

    async def _replace_sources(self) -> bool:
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
            self.pipeline.forget_reader(name)
        try:
            for source in self._new(self._stages.sources):
                await self._open(source)
        except Exception as error:
            await self._close(self._opened)
            await self._reopen(leaving)
            raise ReloadRefusedError(_reason(error)) from error
        return bool(leaving)

    async def _reopen(self, names: Iterable[str]) -> None:
        """Sources of the old version again, as new objects: they begin from their positions."""
        parts = self._parts
        again = make_stages(self._before.spec, parts.around, parts.control).sources
        for name in names:
            source = self._before.sources[name] = again[name]
            await self._keeper.open(source, _OPENS_WITHIN)
            self.pipeline.start_reader(name, source)

    async def _stop_reading(self, name: str) -> None:
        runner = self.pipeline.runners[name]
        with anyio.move_on_after(_PATIENCE) as patience:
            await runner.stop_and_wait()
        if patience.cancelled_caught:
            raise ChainBusyError(name)
        with anyio.move_on_after(_SOURCE_LEAVES_IN) as in_time:
            last = await self._parts.intake.close()
            await self._parts.intake.until_committed(last, self._owned_by({name}))
        if in_time.cancelled_caught:
            self._log.warning("A source is replaced with events in flight", source=name)

    def _owned_by(self, sources: Collection[str]) -> list[str]:
        owners = self._parts.intake.owners
        return [partition for partition, source in owners.items() if source in sources]

    def _start_sources(self) -> None:
        for name, source in self._stages.sources.items():
            if self._before.sources.get(name) is not source:
                self.pipeline.start_reader(name, source)

    # --- the swap ----------------------------------------------------------------------------

    async def _swap(self) -> float:
        """Between two batches: state moves to the new steps, and the new chain takes over."""
        parts, started, name = self._parts, anyio.current_time(), self._stages.spec.name
        with anyio.move_on_after(_PATIENCE) as patience:
            async with parts.intake.between_batches(), parts.saving:
                patience.deadline, started = math.inf, anyio.current_time()
                parts.intake.cut()
                await hand_over(parts, self._wiring, name)
                parts.adopt(self._stages, self._wiring)
                self.pipeline.spec = self._stages.spec
                self._adopted = True
                await forget(parts, self._wired_before, self._wiring, name)
        if patience.cancelled_caught:
            raise ChainBusyError(name)
        return anyio.current_time() - started

    # --- sinks -------------------------------------------------------------------------------

    async def _refit_slots(self) -> None:
        specs = {spec.id: spec for spec in self._stages.spec.sinks}
        changes = diff_pipelines(self._before.spec, self._stages.spec)
        for name, slot in self._wiring.slots.items():
            sink, resolver = self._stages.sinks[name], self._wiring.resolvers[name]
            limits, codec = specs[name].batch or sink.batch, self._stages.codecs.get(name)
            if name in self._taken:
                await slot.refit(sink, codec, limits, resolver)
                await self._keeper.close(self._taken[name].sink)
            elif name not in self._before.sinks:
                self.pipeline.start_writer(slot)
            elif self._stays(name, changes.changed, changes.policies and not specs[name].policies):
                slot.resolver = resolver
            else:
                await slot.refit(sink, codec, limits, resolver)
                if sink is not self._before.sinks[name]:
                    await self._keeper.close(self._before.sinks[name])
        for name, old in self._before.sinks.items():
            if name not in self._stages.sinks:
                self.pipeline.retire(name, self._wired_before.slots[name], old)

    def _stays(self, name: str, changed: Collection[str], policies_changed: bool) -> bool:
        same = self._stages.sinks[name] is self._before.sinks[name]
        return same and name not in changed and not policies_changed


def _reason(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
