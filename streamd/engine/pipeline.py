"""One life of a pipeline: open its stages, run until told to stop or something fails, drain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import anyio
import structlog
from anyio.abc import TaskGroup

from streamd.api import Sink, Source
from streamd.engine.backlog import watch_backlog
from streamd.engine.build import Parts, build
from streamd.engine.checkpoint import Checkpointer
from streamd.engine.committer import Committer
from streamd.engine.guard import guarded
from streamd.engine.handover import check_state
from streamd.engine.keeper import Keeper
from streamd.engine.signal import Signal
from streamd.engine.slot import Slot
from streamd.engine.source_runner import SourceRunner
from streamd.engine.stages import Surroundings
from streamd.engine.suspects import Suspects
from streamd.settings.model import PipelineSpec

State = Literal["starting", "running", "draining", "stopped"]

_DRAIN_REPORT_EVERY = 5.0

_SIP = 20
"""Events in a poll while one is looked for that a step fails on: so many may be written again."""


def removed_name(sink: str) -> str:
    """What a removed sink is called while it drains."""
    return f"{sink} (removed)"


class Retired(NamedTuple):
    """A sink that was removed, and its slot until it is empty; `waiting` is the wait for that."""

    slot: Slot
    sink: Sink
    waiting: anyio.CancelScope


class Pipeline:
    """Runs one specification once, from its last checkpoint.

    `on_running` is called when every stage is open and the sources begin to read. `suspects` is
    what earlier lives have found out.
    """

    def __init__(
        self,
        spec: PipelineSpec,
        around: Surroundings,
        on_running: Callable[[], None] = lambda: None,
        suspects: Suspects | None = None,
    ) -> None:
        self.spec = spec
        self.state: State = "starting"
        self.parts: Parts | None = None
        self.keeper: Keeper | None = None
        self.runners: dict[str, SourceRunner] = {}
        self.committers: dict[str, Committer] = {}
        self.draining: dict[str, Retired] = {}
        self._around = around
        self._on_running = on_running
        self._suspects = suspects or Suspects()
        self._stopping = anyio.Event()
        self._opening = anyio.CancelScope()
        self._sources_changed = Signal()
        self.reloading = False
        self._committing: dict[str, anyio.CancelScope] = {}
        self._readers: TaskGroup
        self._writers: TaskGroup
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
        last = await self._around.store.last(self.spec.name)
        parts = self.parts = build(
            self.spec, self._around, last, self._sleep_on_source, self._suspects
        )
        await check_state(parts, self.spec)
        async with anyio.create_task_group() as group:
            self.keeper = Keeper(group)
            try:
                with self._opening:
                    for stage in parts.stages.objects().values():
                        await self.keeper.open(stage)
                if not self._stopping.is_set():
                    await self._flow(parts)
            finally:
                parts.assignment.end()
                self.state = "stopped"
                self._metrics.up.set(0)
                await self.keeper.close_all()
                for slot in parts.wiring.slots.values():
                    slot.abandon()

    async def _flow(self, parts: Parts) -> None:
        async with anyio.create_task_group() as writers:
            self._writers = writers
            for slot in parts.wiring.slots.values():
                self.start_writer(slot)
            writers.start_soon(guarded, self._checkpointer(parts).run)
            writers.start_soon(guarded, partial(watch_backlog, parts))
            with anyio.CancelScope() as in_time:
                writers.start_soon(self._cut_off, in_time)
                async with anyio.create_task_group() as readers:
                    self._readers = readers
                    for name, source in parts.stages.sources.items():
                        self.start_reader(name, source)
                    readers.start_soon(self._until_sources_end)
                    self.state = "running"
                    self._metrics.up.set(1)
                    self._on_running()
                await self._drain(parts)
            writers.cancel_scope.cancel()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def until_stopped(self) -> anyio.CancelScope:
        """A scope for what a reload may wait for only as long as nobody wants to stop."""
        self._opening = anyio.CancelScope()
        if self.stopping:
            self._opening.cancel()
        return self._opening

    def start_task(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run something as a part of this life: it ends with it, and its error ends it."""
        self._writers.start_soon(guarded, run)

    def start_writer(self, slot: Slot) -> None:
        """Let a slot write, until the pipeline ends."""
        self._writers.start_soon(guarded, slot.run)

    def start_reader(self, name: str, source: Source) -> None:
        """Read and commit an open source, until its runner is told to stop."""
        assert self.parts is not None
        runner = self.runners[name] = SourceRunner(
            name,
            source,
            self.parts.stages.codecs[name],
            intake=self.parts.intake,
            batch_events=self._batch_events,
            metrics=self._around.telemetry.stage(self.spec.name, name),
            pipeline_metrics=self._metrics,
            log=self._log.bind(stage=name),
            on_end=self._sources_changed.set,
        )
        committer = self.committers[name] = Committer(
            name,
            source,
            intake=self.parts.intake,
            store_id=self._around.store.id,
            metrics=self._metrics,
            log=self._log.bind(stage=name),
        )
        scope = self._committing[name] = anyio.CancelScope()
        self._writers.start_soon(guarded, partial(_within, scope, committer.run))
        self._readers.start_soon(guarded, runner.run)
        if self._stopping.is_set():
            runner.stop()

    def _batch_events(self) -> int:
        most = self.spec.options.batch_events
        searching = self._suspects.searching(anyio.current_time())
        return min(most, _SIP) if searching else most

    async def _until_sources_end(self) -> None:
        """Keeps the readers' group open while a reload replaces the last source."""
        while self.reloading or not all(r.ended.is_set() for r in self.runners.values()):
            await self._sources_changed.wait()

    def reloaded(self) -> None:
        """A reload that had set `reloading` is over."""
        self.reloading = False
        self._sources_changed.set()

    def fail(self, error: Exception) -> None:
        """End this life with an error; the next one starts from the checkpoint."""

        async def raise_it() -> None:
            raise error

        if self.state != "stopped":
            self._writers.start_soon(raise_it)

    def forget_reader(self, name: str) -> None:
        """A source is closed: nothing is committed for it any more."""
        self._committing.pop(name).cancel()
        del self.runners[name], self.committers[name]

    def retire(self, name: str, slot: Slot, sink: Sink) -> None:
        """A sink is removed: its slot writes what it holds, then the sink is closed."""
        self._log.info("A removed sink drains", sink=name, rows=slot.rows)
        waiting = anyio.CancelScope()
        self.draining[name] = Retired(slot, sink, waiting)

        async def drain() -> None:
            with waiting:
                await slot.until_empty()
            if waiting.cancel_called:
                return
            # It holds nothing any more: a sink of its name that comes now is a new one.
            del self.draining[name]
            slot.stop()
            assert self.keeper is not None
            await self.keeper.close(sink)
            self.forget_metrics([name, removed_name(name)])
            self._log.info("A removed sink is closed", sink=name)

        self.start_task(drain)

    def forget_metrics(self, names: Iterable[str]) -> None:
        """Stages that are no more, nor drain, leave no series behind."""
        present = {s.id for s in (*self.spec.sources, *self.spec.steps, *self.spec.sinks)}
        for name in set(names) - present - self.draining.keys():
            self._around.telemetry.forget(self.spec.name, name)

    def retire_again(self, taken: Mapping[str, Retired]) -> None:
        """Sinks that were to come back do not: they drain on."""
        if self.state != "stopped":
            for name, retired in taken.items():
                self.retire(name, retired.slot, retired.sink)

    def take_back(self, names: Collection[str]) -> dict[str, Retired]:
        """Sinks of these names come back: those of them that drain do so no more."""
        taken = {name: self.draining.pop(name) for name in names if name in self.draining}
        for retired in taken.values():
            retired.waiting.cancel()
        return taken

    async def _drain(self, parts: Parts) -> None:
        self.state = "draining"
        if not self._stopping.is_set():
            await parts.intake.finish()
        last = await parts.intake.close()
        while True:
            with anyio.move_on_after(_DRAIN_REPORT_EVERY):
                await parts.intake.until_committed(last)
                return
            slots = parts.wiring.slots.items()
            working = {name: slot.rows for name, slot in slots if slot.rows}
            self._log.info("Draining", waiting_for=working or "commit")

    async def _cut_off(self, in_time: anyio.CancelScope) -> None:
        """Bound the time from `stop` on. Sources that end by themselves have all the time."""
        await self._stopping.wait()
        await anyio.sleep(self.spec.options.drain_timeout)
        self._log.warning("Not drained in time: what is in flight is read again next time")
        in_time.cancel()

    async def _sleep_on_source(self, seconds: float) -> None:
        """What a step waits with before it is tried again: every source stays alive meanwhile."""
        async with anyio.create_task_group() as group:
            for runner in self.runners.values():
                group.start_soon(runner.sleep, seconds)

    def _checkpointer(self, parts: Parts) -> Checkpointer:
        return Checkpointer(
            self.spec.name,
            sources=lambda: parts.stages.sources,
            intake=parts.intake,
            ledger=parts.ledger,
            store=self._around.store,
            saving=parts.saving,
            metrics=self._metrics,
            log=self._log,
        )


async def _within(scope: anyio.CancelScope, run: Callable[[], Awaitable[Any]]) -> None:
    with scope:
        await run()
