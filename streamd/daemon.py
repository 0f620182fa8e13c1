"""The daemon's life: signals, the pipelines under their supervisors, and an exit code."""

from __future__ import annotations

import fcntl
import gc
import importlib.util
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import structlog

from streamd import exits
from streamd.api import SystemClock
from streamd.engine.stages import Surroundings
from streamd.engine.store import SqliteStore
from streamd.engine.supervisor import ExitRequested, Supervisor
from streamd.notify import Notifier
from streamd.settings.loader import load
from streamd.settings.model import Settings
from streamd.settings.problems import SettingsError
from streamd.telemetry import logs
from streamd.telemetry.metrics import Telemetry

_REPORT_EVERY = 10.0
_DRAIN_NOTE_EVERY = 5.0


def run(config: Path) -> int:
    """Run the daemon until it is told to stop; returns its exit code."""
    # Before anything slow: the default of SIGHUP ends the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
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
                Daemon(settings, state_dir).run, backend_options={"use_uvloop": use_uvloop}
            )
    except _InUseError as error:
        log.error("Another streamd is running", state_dir=str(error))
        return exits.IN_USE


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
    """All pipelines of one configuration."""

    def __init__(self, settings: Settings, state_dir: Path) -> None:
        self.settings = settings
        self.telemetry = Telemetry()
        self.supervisors: dict[str, Supervisor] = {}
        self._state_dir = state_dir
        self._log = structlog.get_logger()
        self._notifier = Notifier()
        self._stopping = False

    async def run(self) -> int:
        """Returns an exit code once every pipeline has ended."""
        catalog = self.settings.catalog
        async with SqliteStore(self._state_dir / "checkpoints.db") as store:
            around = Surroundings(
                store,
                self.telemetry,
                SystemClock(),
                self._state_dir,
                self.settings.digest,
                {role: catalog.extensions(role) for role in catalog.roles()},
            )
            for spec in self.settings.pipelines:
                self.supervisors[spec.name] = self._supervisor(spec, around)
            async with anyio.create_task_group() as services:
                services.start_soon(self._watch_signals, services.cancel_scope)
                services.start_soon(self._serve_admin)
                services.start_soon(self._report)
                services.start_soon(self._feed_watchdog)
                try:
                    await self._run_pipelines()
                except* ExitRequested as group:
                    reasons = [str(error) for error in group.exceptions]
                    self._log.error("The daemon ends with a pipeline", reasons=reasons)
                services.cancel_scope.cancel()
        return self._exit_code()

    async def _run_pipelines(self) -> None:
        async with anyio.create_task_group() as pipelines:
            for supervisor in self.supervisors.values():
                pipelines.start_soon(supervisor.run)
            pipelines.start_soon(self._once_running)

    def _supervisor(self, spec: Any, around: Surroundings) -> Supervisor:
        hook = self.settings.catalog.hook

        def on_state(state: str, reason: str) -> None:
            if state != "failed":  # which the supervisor tells, with what follows from it
                self._log.info(f"Pipeline {state}", pipeline=spec.name)
            hook.streamd_pipeline_state(pipeline=spec.name, state=state, reason=reason)

        return Supervisor(spec, around, on_state)

    async def _once_running(self) -> None:
        for supervisor in self.supervisors.values():
            with anyio.move_on_after(5):
                await supervisor.running.wait()
        # What was made until now lives as long as the daemon: no collection need look at it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        self._notifier.ready(self._summary())
        for line in self.settings.daemon.banner:
            self._log.info(line)

    async def _watch_signals(self, everything: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                name = signal.Signals(number).name
                if number == signal.SIGHUP:
                    self._log.warning("Reload is not possible yet; restart to apply changes")
                elif self._stopping:
                    self._log.warning("Stopping at once; what is in flight is read again", by=name)
                    everything.cancel()
                    return
                else:
                    self._stopping = True
                    self._log.info("Stopping: draining what is in flight", by=name)
                    self._notifier.stopping("draining")
                    for supervisor in self.supervisors.values():
                        supervisor.stop()

    async def _serve_admin(self) -> None:
        if not self.settings.daemon.admin:
            return
        from streamd.http import serve  # aiohttp is slow to import: the pipelines start first

        await serve(self.settings.daemon.admin, self.telemetry, self.supervisors)

    async def _feed_watchdog(self) -> None:
        """Sign of life for the service manager, unless a pipeline is stuck and cannot say why.

        A sink that is down is no reason to restart: that would not bring it back.
        """
        interval = self._notifier.watchdog_interval or _DRAIN_NOTE_EVERY
        while True:
            if not any(supervisor.status().stuck for supervisor in self.supervisors.values()):
                self._notifier.alive()
            if self._stopping:
                self._notifier.extend_timeout(3 * _DRAIN_NOTE_EVERY)
            await anyio.sleep(min(interval, _DRAIN_NOTE_EVERY))

    def _summary(self) -> str:
        """One line for `systemctl status`."""
        parts = []
        for name, supervisor in self.supervisors.items():
            status = supervisor.status()
            parts.append(f"{name}: {status.state}, {status.read} read")
        return "; ".join(parts)

    async def _report(self) -> None:
        """A line now and then that says what each pipeline does, while it does something."""
        seen: dict[str, int] = {}
        while True:
            await anyio.sleep(_REPORT_EVERY)
            self._notifier.status(self._summary())
            for name, supervisor in self.supervisors.items():
                status = supervisor.status()
                if status.read == seen.get(name, 0) and status.ready:
                    continue
                per_second = (status.read - seen.get(name, 0)) / _REPORT_EVERY
                seen[name] = status.read
                stored = {stage: s.events for stage, s in status.stages.items() if s.role == "sink"}
                self._log.info(
                    "Progress",
                    pipeline=name,
                    per_second=round(per_second, 1),
                    read=status.read,
                    **stored,
                    **({"problems": status.problems} if status.problems else {}),
                )

    def _exit_code(self) -> int:
        failed = any(supervisor.failure for supervisor in self.supervisors.values())
        return exits.FAILED if failed and not self._stopping else exits.OK
