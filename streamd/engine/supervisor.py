"""Keeping one pipeline alive: start it, start it again from its checkpoint when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import anyio
import structlog

from streamd.api import ConfigError
from streamd.engine.failure import PipelineStopped, StateSuspect, backoff
from streamd.engine.frames import let_go
from streamd.engine.guard import guarded
from streamd.engine.phase import ChainBusyError, ReloadRefusedError
from streamd.engine.pipeline import Pipeline
from streamd.engine.reload import Change, prepare
from streamd.engine.replay import ReplayRequest, RowAnswer, replay
from streamd.engine.stages import Surroundings
from streamd.engine.status import PipelineStatus, fill_gauges, status_of
from streamd.engine.suspects import Suspects
from streamd.engine.tap import Outlets
from streamd.settings.model import PipelineSpec
from streamd.settings.restart import lost_state

_STEADY_AFTER = 60.0
"""Seconds of life after which a failure counts as the first again."""


class ExitRequested(Exception):  # noqa: N818
    """A pipeline failed that the configuration will not run the daemon without."""


class _StartAgain(Exception):  # noqa: N818
    """Ends a life that another is to follow at once."""


class Supervisor:
    """One pipeline of the daemon, over all its lives.

    `on_state(state, reason)` is told of each change: running, draining, stopped or failed.
    """

    def __init__(
        self,
        spec: PipelineSpec,
        around: Surroundings,
        on_state: Callable[[str, str], None] = lambda _state, _reason: None,
    ) -> None:
        self.spec = spec
        self.failure: str | None = None
        self.running = anyio.Event()
        self._around = around
        self._observer = on_state
        self._suspects = Suspects()
        self._life = self._next_life()
        self.ended = False
        self._came_to_its_end = False
        self._removed = False
        self._restarts = 0
        self._pausing = False
        self._restart_by: PipelineSpec | None = None
        self._wake = anyio.Event()
        self._stopping = anyio.Event()
        self._log = structlog.get_logger().bind(pipeline=spec.name)

    def stop(self) -> None:
        """Drain; `run` returns once that is done."""
        self._stopping.set()
        self._wake.set()
        self._on_state("draining", "")
        self._life.stop()

    def remove(self) -> None:
        """Drain, and leave nothing behind, metrics included: the pipeline is no more."""
        self._removed = True
        self.stop()

    async def prepare(self, spec: PipelineSpec) -> Change | None:
        """Ready the running pipeline for another specification; None if it waits for its start.

        Raises ReloadRefusedError.
        """
        if not self._pausing:
            return await prepare(self._life, spec)
        for step in spec.steps:
            held = await self._around.store.state_keys(spec.name, step.id)
            if message := lost_state(step, step.config.state_key(), held):
                raise ReloadRefusedError(message)
        return None

    async def carry_out(
        self, change: Change | None, spec: PipelineSpec, config_digest: str
    ) -> float:
        """Go on by the specification; returns how long the chain stood still (seconds).

        A pipeline that waits for its next start takes it then, and starts now. Raises
        ReloadRefusedError, and leaves everything as it was.
        """
        stood = 0.0
        if not self._pausing:
            if change is None or change.pipeline is not self._life:
                change = await self.prepare(spec)  # a new life began meanwhile
            try:
                stood = 0.0 if change is None else await change.carry_out(config_digest)
            except ChainBusyError:
                self._restart_by = spec
        self.spec = spec
        self._around = replace(self._around, config_digest=config_digest)
        self._suspects.forget()
        self._wake.set()
        if self._restart_by is not None:
            self._log.warning("A step holds the chain: starting again from the checkpoint")
            self._life.fail(_StartAgain())
        return stood

    @property
    def outlets(self) -> Outlets:
        """Where the pipeline can be tapped, whatever it does now."""
        return self._around.outlets

    async def replay(self, request: ReplayRequest) -> list[RowAnswer]:
        """Let dead letters in again. Raises ReplayRefusedError."""
        return await replay(self._life, request)

    async def run(self) -> None:
        """Returns when the pipeline was stopped, has come to its end, or is not to run again.

        Raises ExitRequested if it failed and `on_failure` is "exit".
        """
        try:
            await self._live()
        finally:
            self.ended = True
            if self._removed:
                self._around.telemetry.forget(self.spec.name)

    async def _live(self) -> None:
        tries = 0
        while not self._stopping.is_set():
            started = anyio.current_time()
            try:
                await guarded(self._life.run)
            except Exception as error:
                if self._restart_by is not None:
                    self._restart_by = None
                    self._life = self._next_life()
                    continue
                tries = 1 if anyio.current_time() - started > _STEADY_AFTER else tries + 1
                again_in = self._search(error)
                for_good = self._failed(error, searching=again_in is not None)
                let_go(error)
                if for_good:
                    return
                if not self._stopping.is_set():
                    await self._pause(backoff(tries) if again_in is None else again_in)
                self._restarts += 1
                self._around.telemetry.pipeline(self.spec.name).restarts.inc()
                self._life = self._next_life()
            else:
                self._came_to_its_end = not self._stopping.is_set()
                break
        self._on_state("stopped", "")

    def status(self) -> PipelineStatus:
        """The pipeline as it is now; also brings its gauges up to date."""
        status = status_of(self._life, self._restarts)
        if self.failure is not None:
            status.problems.insert(0, self.failure)
            status.ready = False
        if self._life.state != "running" and self.failure is not None:
            status.state = "failed"
        if self._came_to_its_end:  # all of it is stored: nobody need act
            status.state, status.ready, status.problems = "ended", True, []
        fill_gauges(self._life, self._around.telemetry, status)
        return status

    def _on_state(self, state: str, reason: str) -> None:
        try:
            self._observer(state, reason)
        except Exception as error:  # whoever looks on must not stop what he looks at
            self._log.error("An observer of the pipeline's state failed", exc_info=error)

    def _started(self) -> None:
        self.failure = None
        self.running.set()
        self._on_state("running", "")
        if self._stopping.is_set():
            self._life.stop()

    def _next_life(self) -> Pipeline:
        return Pipeline(self.spec, self._around, self._started, self._suspects)

    def _search(self, error: Exception) -> float | None:
        """Seconds until the next life looks for the event that a step with state fails on.

        None if that is not why this one ended, or if the step seems to fail on all of them.
        """
        if self._life.parts is not None:
            durable = self._life.parts.intake.durable_epoch
            self._suspects.life_over(durable, anyio.current_time())
        pause = 0.0
        for cause in _leaves(error):
            if not isinstance(cause, StateSuspect) or cause.again_in is None:
                return None
            pause = max(pause, cause.again_in)
        return pause

    def _failed(self, error: Exception, *, searching: bool) -> bool:
        """Record why it failed; whether it stays down."""
        causes = list(_leaves(error))
        self.failure = "; ".join(dict.fromkeys(str(cause) or repr(cause) for cause in causes))
        self._on_state("failed", self.failure)
        final = any(isinstance(cause, PipelineStopped | ConfigError) for cause in causes)
        how = "restart" if searching else self.spec.options.on_failure
        declared = all(type(cause).__module__.startswith("streamd.") for cause in causes)
        self._log.error(
            "Pipeline failed",
            reason=self.failure,
            next="stays down" if final or how != "restart" else "starts again",
            **({} if declared else {"exc_info": error}),
        )
        if how == "exit":
            raise ExitRequested(f"{self.spec.name}: {self.failure}") from error
        return final or how == "stop"

    async def _pause(self, seconds: float) -> None:
        self._wake, self._pausing = anyio.Event(), True
        with anyio.move_on_after(seconds):
            await self._wake.wait()
        self._pausing = False


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
