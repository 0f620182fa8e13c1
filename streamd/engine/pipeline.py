"""One life of a pipeline: open its stages, run until told to stop or something fails, drain."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Literal

import anyio
import structlog

from streamd.api import DEAD_LETTERS, Backlog, Misconfigured, Source
from streamd.engine.build import Builder, Parts, Surroundings
from streamd.engine.checkpoint import Checkpointer
from streamd.engine.source_runner import SourceRunner
from streamd.settings.model import PipelineSpec

State = Literal["starting", "running", "draining", "stopped"]

_DRAIN_REPORT_EVERY = 5.0
_BACKLOG_EVERY = 30.0


class Pipeline:
    """Runs one specification once, from its last checkpoint.

    `on_running` is called when every stage is open and the sources begin to read.
    """

    def __init__(
        self,
        spec: PipelineSpec,
        around: Surroundings,
        on_running: Callable[[], None] = lambda: None,
    ) -> None:
        self.spec = spec
        self.state: State = "starting"
        self.parts: Parts | None = None
        self.runners: dict[str, SourceRunner] = {}
        self._around = around
        self._on_running = on_running
        self._stopping = anyio.Event()
        self._opening = anyio.CancelScope()
        self._metrics = around.telemetry.pipeline(spec.name)
        self._log = structlog.get_logger().bind(pipeline=spec.name)

    def stop(self) -> None:
        """Read no more and drain; `run` returns once that is done."""
        self._stopping.set()
        self._opening.cancel()
        for runner in self.runners.values():
            runner.stop()

    async def run(self) -> None:
        """Returns when it was stopped, or when every source has come to its end.

        Raises what ended it otherwise; what was not committed is read again next time.
        """
        store, spec = self._around.store, self.spec
        last = await store.last(spec.name)
        parts = self.parts = Builder(spec, self._around, last, self._sleep_on_source).build()
        await self._check_state(parts)
        async with AsyncExitStack() as stack:
            with self._opening:
                for slot in parts.slots.values():
                    await stack.enter_async_context(slot.sink)
                for stage in (*parts.steps.values(), *parts.sources.values()):
                    await stack.enter_async_context(stage)
            try:
                if not self._stopping.is_set():
                    await self._flow(parts)
            finally:
                parts.assignment.end()
                self.state = "stopped"
                self._metrics.up.set(0)

    async def _flow(self, parts: Parts) -> None:
        self.runners = {name: self._runner(name, s, parts) for name, s in parts.sources.items()}
        checkpointer = self._checkpointer(parts)
        async with anyio.create_task_group() as writers:
            for slot in parts.slots.values():
                writers.start_soon(guarded, slot.run)
            writers.start_soon(guarded, checkpointer.run)
            writers.start_soon(self._watch_backlog, parts)
            with anyio.CancelScope() as in_time:
                writers.start_soon(self._cut_off, in_time)
                async with anyio.create_task_group() as readers:
                    for runner in self.runners.values():
                        readers.start_soon(guarded, runner.run)
                    self.state = "running"
                    self._metrics.up.set(1)
                    self._on_running()
                await self._drain(parts)
            writers.cancel_scope.cancel()

    async def _drain(self, parts: Parts) -> None:
        self.state = "draining"
        if not self._stopping.is_set():
            await parts.intake.finish()
        last = await parts.intake.close()
        while True:
            with anyio.move_on_after(_DRAIN_REPORT_EVERY):
                await parts.intake.until_committed(last)
                return
            working = {name: slot.rows for name, slot in parts.slots.items() if slot.rows}
            self._log.info("Draining", waiting_for=working or "commit")

    async def _cut_off(self, in_time: anyio.CancelScope) -> None:
        """Bound the time from `stop` on. Sources that end by themselves have all the time."""
        await self._stopping.wait()
        await anyio.sleep(self.spec.options.drain_timeout)
        self._log.warning("Not drained in time: what is in flight is read again next time")
        in_time.cancel()

    async def _watch_backlog(self, parts: Parts) -> None:
        """Keep `dlq_backlog_size` true; a store that cannot be counted now is counted later."""
        named = self.spec.options.backlog
        readers = [sink.id for sink in self.spec.sinks if DEAD_LETTERS in sink.inputs]
        slots = [parts.slots[name] for name in ([named] if named else readers)]
        counted = next((slot for slot in slots if isinstance(slot.sink, Backlog)), None)
        while counted is not None:
            try:
                self._metrics.backlog.set(await counted.backlog() or 0)
            except Exception as error:  # a gauge is no reason to stop
                self._log.debug("Cannot count the dead letters", error=str(error))
            await anyio.sleep(_BACKLOG_EVERY)

    async def _check_state(self, parts: Parts) -> None:
        store, pipeline = self._around.store, self.spec.name
        for step in self.spec.steps:
            key = parts.state_keys[step.id]
            if not await store.state_keys(pipeline, step.id) - {key}:
                continue
            if not step.reset_state:
                raise Misconfigured(
                    f"{step.path}: its settings have changed, and the state that it has kept does"
                    " not fit them; set reset_state = true on the stage to start it anew"
                )
            self._log.warning("State is started anew, as asked", stage=step.id)
            await store.drop_state(pipeline, step.id, key)

    async def _sleep_on_source(self, seconds: float) -> None:
        """What a step waits with before it is tried again: every source stays alive meanwhile."""
        async with anyio.create_task_group() as group:
            for runner in self.runners.values():
                group.start_soon(runner.sleep, seconds)

    def _runner(self, name: str, source: Source, parts: Parts) -> SourceRunner:
        return SourceRunner(
            name,
            source,
            intake=parts.intake,
            batch_events=self.spec.options.batch_events,
            metrics=self._around.telemetry.stage(self.spec.name, name),
            pipeline_metrics=self._metrics,
            log=self._log.bind(stage=name),
        )

    def _checkpointer(self, parts: Parts) -> Checkpointer:
        return Checkpointer(
            self.spec.name,
            sources=parts.sources,
            state_keys=parts.state_keys,
            intake=parts.intake,
            ledger=parts.ledger,
            store=self._around.store,
            saving=parts.saving,
            metrics=self._metrics,
            log=self._log,
        )


async def guarded(run: Callable[[], Awaitable[Any]]) -> None:
    """Run a part of the pipeline that must not end without a word.

    A CancelledError that no scope of ours asked for (a library awaited a cancelled future, or
    cancelled the task that it ran in) would end a task group as if all were well.

    Raises RuntimeError in its place.
    """
    try:
        await run()
    except asyncio.CancelledError as error:
        if anyio.current_effective_deadline() == -math.inf:
            raise
        raise RuntimeError("a library cancelled a task of the pipeline") from error
