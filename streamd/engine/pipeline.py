"""One life of a pipeline: open its stages, run until told to stop or something fails, drain."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Literal

import anyio
import structlog

from streamd.api import DEAD_LETTERS, Backlog, Misconfigured, Source, StreamdError
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
        self._stopping = False
        self._drain_by: float | None = None
        self._metrics = around.telemetry.pipeline(spec.name)
        self._log = structlog.get_logger().bind(pipeline=spec.name)

    def stop(self) -> None:
        """Read no more and drain; `run` returns once that is done."""
        self._stopping = True
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
            for slot in parts.slots.values():
                await stack.enter_async_context(slot.sink)
            for stage in (*parts.steps.values(), *parts.sources.values()):
                await stack.enter_async_context(stage)
            try:
                await self._flow(parts)
            finally:
                self.state = "stopped"
                self._metrics.up.set(0)

    async def _flow(self, parts: Parts) -> None:
        self.runners = {name: self._runner(name, s, parts) for name, s in parts.sources.items()}
        checkpointer = self._checkpointer(parts)
        async with anyio.create_task_group() as writers:
            for slot in parts.slots.values():
                writers.start_soon(_guarded, slot.run)
            writers.start_soon(_guarded, checkpointer.run)
            async with anyio.create_task_group() as readers:
                for runner in self.runners.values():
                    readers.start_soon(_guarded, runner.run)
                writers.start_soon(self._watch_backlog, parts)
                self.state = "running"
                self._metrics.up.set(1)
                self._on_running()
                if self._stopping:
                    self.stop()
            await self._drain(parts)
            writers.cancel_scope.cancel()

    async def _drain(self, parts: Parts) -> None:
        self.state = "draining"
        if not self._stopping:
            await parts.intake.finish()
        for slot in parts.slots.values():
            slot.drain()
        last = await parts.intake.close(flush=True)
        while (left := self._time_to_drain()) > 0:
            if await parts.intake.until_committed(last, min(left, _DRAIN_REPORT_EVERY)):
                return
            working = {name: slot.rows for name, slot in parts.slots.items() if slot.rows}
            self._log.info("Draining", waiting_for=working or "commit")
        self._log.warning("Not drained in time: what is in flight is read again next time")

    def _time_to_drain(self) -> float:
        """Seconds left: endless for sources that came to their end, until somebody wants to stop.

        A sink that is down then holds the end of a bounded run as it would hold any batch.
        """
        if not self._stopping:
            return math.inf
        now = anyio.current_time()
        self._drain_by = self._drain_by or now + self.spec.options.drain_timeout
        return self._drain_by - now

    async def _watch_backlog(self, parts: Parts) -> None:
        """Keep `dlq_backlog_size` true; a store that cannot be counted now is counted later."""
        named = self.spec.options.backlog
        readers = [sink.id for sink in self.spec.sinks if DEAD_LETTERS in sink.inputs]
        slots = [parts.slots[name] for name in ([named] if named else readers)]
        counted = next((slot for slot in slots if isinstance(slot.sink, Backlog)), None)
        while counted is not None:
            try:
                self._metrics.backlog.set(await counted.backlog() or 0)
            except StreamdError as error:
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
            metrics=self._metrics,
            log=self._log,
        )


async def _guarded(run: Callable[[], Awaitable[Any]]) -> None:
    """A task of the pipeline that must not end without a word.

    A CancelledError that nobody asked for (a library awaited a cancelled future) would end the
    task group as if all were well.
    """
    try:
        await run()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("a library cancelled a task of the pipeline") from error
