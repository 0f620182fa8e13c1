"""The daemon's life: signals, the pipelines under their supervisors, and an exit code."""

from __future__ import annotations

import fcntl
import importlib.util
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import anyio
import structlog
from anyio.abc import TaskGroup

from streamd import control, exits, memory
from streamd.api import Condition, SystemClock
from streamd.engine.signal import Signal
from streamd.engine.stages import Surroundings
from streamd.engine.store import SqliteStore, Store
from streamd.engine.supervisor import ExitRequested, Supervisor
from streamd.notify import Notifier
from streamd.reloading import Reloader
from streamd.reporting import Reporter
from streamd.settings.loader import load
from streamd.settings.model import PipelineSpec, Settings
from streamd.settings.problems import SettingsError
from streamd.telemetry import logs
from streamd.telemetry.metrics import Telemetry

_STARTS_WITHIN = 5.0
"""Seconds after which the daemon counts as started even if a pipeline does not run yet."""


def run(config: Path) -> int:
    """Run the daemon until it is told to stop; returns its exit code."""
    # Before anything slow: the default of SIGHUP ends the process.
    early = _EarlyHangup()
    signal.signal(signal.SIGHUP, early)
    try:
        settings = load(config)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return exits.CONFIG
    options = settings.daemon
    logs.configure(level=options.log_level, form=options.log_format)
    log = structlog.get_logger()
    for problem in settings.catalog.problems:
        log.warning("Plugin left out", problem=str(problem))
    state_dir = Path(options.state_dir)
    try:
        with _sole_user(state_dir):
            use_uvloop = options.uvloop and importlib.util.find_spec("uvloop") is not None
            return anyio.run(
                Daemon(settings, state_dir, early).run, backend_options={"use_uvloop": use_uvloop}
            )
    except _InUseError as error:
        log.error("Another streamd is running", state_dir=str(error))
        return exits.IN_USE


class _EarlyHangup:
    """Notes a SIGHUP that comes while the file is being read: it may be about a later one."""

    came = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True


class _InUseError(Exception):
    """The state directory belongs to another process."""


@contextmanager
def _sole_user(state_dir: Path) -> Iterator[None]:
    """Two daemons on one state directory would overwrite each other's checkpoints."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _InUseError(state_dir) from error
        yield


class Daemon:
    """All pipelines of one configuration, and of those that replace it."""

    def __init__(
        self, settings: Settings, state_dir: Path, early: _EarlyHangup | None = None
    ) -> None:
        self.settings = settings
        self.telemetry = Telemetry()
        self.supervisors: dict[str, Supervisor] = {}
        self._state_dir = state_dir
        self._log = structlog.get_logger()
        self._notifier = Notifier()
        self._early = early or _EarlyHangup()
        self._started = anyio.Event()
        self._reload_wanted = Signal()
        self._reloader = Reloader(
            self.supervisors, self.start, lambda: self._stopping, self.telemetry
        )
        self._reporter = Reporter(
            self.supervisors, self._notifier, self.telemetry, lambda: self._reloader.refused
        )
        self._stopping = False
        self._pipelines: TaskGroup
        self._store: Store

    async def run(self) -> int:
        """Returns an exit code once every pipeline has ended."""
        async with SqliteStore(self._state_dir / "checkpoints.db") as self._store:
            for spec in self.settings.pipelines:
                self.supervisors[spec.name] = self._supervisor(spec, self.settings)
            async with anyio.create_task_group() as services:
                services.start_soon(self._watch_signals, services.cancel_scope)
                services.start_soon(self._serve_admin)
                services.start_soon(
                    control.serve, self._state_dir, self.supervisors, self._compile_filter
                )
                services.start_soon(self._reporter.report)
                services.start_soon(self._reporter.feed_watchdog)
                services.start_soon(self._reload_when_wanted)
                services.start_soon(self._watch_memory)
                try:
                    await self._run_pipelines()
                except* ExitRequested as group:
                    reasons = [str(error) for error in group.exceptions]
                    self._log.error("The daemon ends with a pipeline", reasons=reasons)
                services.cancel_scope.cancel()
        return self._exit_code()

    def _compile_filter(self, text: str) -> Condition | None:
        condition: Condition | None = self.settings.catalog.hook.streamd_condition(text=text)
        return condition

    def start(self, spec: PipelineSpec, settings: Settings) -> None:
        """Run a pipeline that a reload has brought."""
        supervisor = self.supervisors[spec.name] = self._supervisor(spec, settings)
        self._pipelines.start_soon(supervisor.run)

    async def _run_pipelines(self) -> None:
        async with anyio.create_task_group() as self._pipelines:
            for supervisor in self.supervisors.values():
                self._pipelines.start_soon(supervisor.run)
            self._pipelines.start_soon(self._once_running)

    def _supervisor(self, spec: PipelineSpec, settings: Settings) -> Supervisor:
        catalog = settings.catalog

        def on_state(state: str, reason: str) -> None:
            if state != "failed":  # which the supervisor tells, with what follows from it
                self._log.info(f"Pipeline {state}", pipeline=spec.name)
            catalog.hook.streamd_pipeline_state(pipeline=spec.name, state=state, reason=reason)

        around = Surroundings(
            self._store,
            self.telemetry,
            SystemClock(),
            self._state_dir,
            settings.digest,
            {role: catalog.extensions(role) for role in catalog.roles()},
        )
        return Supervisor(spec, around, on_state)

    async def _once_running(self) -> None:
        with anyio.move_on_after(_STARTS_WITHIN):
            for supervisor in list(self.supervisors.values()):
                await supervisor.running.wait()
        self._started.set()
        memory.settle()
        self._notifier.ready(self._reporter.summary())
        for line in self.settings.daemon.banner:
            self._log.info(line)

    async def _watch_memory(self) -> None:
        await self._started.wait()
        await memory.watch()

    async def _watch_signals(self, everything: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            if self._early.came:
                self._reload_wanted.set()
            async for number in signals:
                name = signal.Signals(number).name
                if number == signal.SIGHUP:
                    self._reload_wanted.set()
                elif self._stopping:
                    self._log.warning("Stopping at once; what is in flight is read again", by=name)
                    everything.cancel()
                    return
                else:
                    self._stop(name)

    def _stop(self, by: str) -> None:
        self._stopping = self._reporter.draining = True
        self._log.info("Stopping: draining what is in flight", by=by)
        self._notifier.stopping("draining")
        for supervisor in self.supervisors.values():
            supervisor.stop()

    async def _reload_when_wanted(self) -> None:
        """Signals that come during the start, or while a reload is at work, are one more reload."""
        await self._started.wait()  # a pipeline that only starts cannot be changed
        while True:
            await self._reload_wanted.wait()
            if self._stopping:
                return
            self._notifier.reloading()
            try:
                self.settings = await self._reloader.reload(self.settings)
            finally:
                self._notifier.ready(self._reporter.summary())

    async def _serve_admin(self) -> None:
        if not self.settings.daemon.admin:
            return
        from streamd.admin.watched import Watched
        from streamd.http import serve  # aiohttp is slow to import: the pipelines start first

        await serve(
            Watched(
                self.telemetry,
                self.supervisors,
                lambda: self.settings,
                lambda: self._reloader.last,
            )
        )

    def _exit_code(self) -> int:
        failed = any(supervisor.failure for supervisor in self.supervisors.values())
        return exits.FAILED if failed and not self._stopping else exits.OK
