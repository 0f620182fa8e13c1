"""SIGHUP: another configuration for a running daemon, or the old one and the reason why."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from anyio import to_thread

from streamd.engine.reload import ReloadRefusedError
from streamd.engine.supervisor import Supervisor
from streamd.settings.diff import Diff, diff
from streamd.settings.loader import load
from streamd.settings.model import PipelineSpec, Settings
from streamd.settings.problems import SettingsError
from streamd.settings.restart import needs_restart
from streamd.telemetry.metrics import Telemetry


class Reloader:
    """Applies configurations to the supervised pipelines. `start` runs one that is new."""

    def __init__(
        self,
        supervisors: dict[str, Supervisor],
        start: Callable[[PipelineSpec, Settings], None],
        telemetry: Telemetry,
    ) -> None:
        self._supervisors = supervisors
        self._start = start
        self._metrics = telemetry.reloads()
        self._log = structlog.get_logger()

    async def reload(self, old: Settings) -> Settings:
        """The configuration that is in force afterwards: the file's, or `old` if it is refused."""
        try:
            new = await to_thread.run_sync(load, old.path)
            message = await self._apply(old, new)
        except (SettingsError, ReloadRefusedError) as error:
            self._log.error("Reload refused; the old configuration goes on", reason=str(error))
            return self._settled(old, accepted=False, message=str(error))
        except Exception as error:
            self._log.error("Reload failed; the old configuration goes on", exc_info=error)
            return self._settled(old, accepted=False, message=repr(error))
        self._log.info("Reloaded", changes=message)
        return self._settled(new, accepted=True, message=message)

    def _settled(self, settings: Settings, *, accepted: bool, message: str) -> Settings:
        self._metrics.done(accepted, time.time())
        settings.catalog.hook.streamd_config_reloaded(accepted=accepted, message=message)
        return settings

    async def _apply(self, old: Settings, new: Settings) -> str:
        changes = diff(old, new)
        if changes.empty:
            return "nothing has changed"
        _refuse_what_needs_a_restart(changes, old, new)
        told = await self._change(changes, old, new)
        specs = {spec.name: spec for spec in new.pipelines}
        for name in changes.added:
            self._start(specs[name], new)
            told.append(f"{name} is new")
        for name in changes.removed:
            self._supervisors.pop(name).stop()
            told.append(f"{name} is removed and drains")
        return "; ".join(told)

    async def _change(self, changes: Diff, old: Settings, new: Settings) -> list[str]:
        """Change pipelines one after the other; if one refuses, take the others back."""
        before = {spec.name: spec for spec in old.pipelines}
        after = {spec.name: spec for spec in new.pipelines}
        told, done = [], []
        try:
            for name, pipeline in changes.pipelines.items():
                if not pipeline.empty:
                    told.append(await self._change_one(after[name], new))
                    done.append(name)
        except ReloadRefusedError:
            for name in done:
                await self._change_one(before[name], old)
            raise
        return told

    async def _change_one(self, spec: PipelineSpec, settings: Settings) -> str:
        supervisor = self._supervisors[spec.name]
        if supervisor.ended:
            self._start(spec, settings)
            return f"{spec.name} starts again"
        stood = await supervisor.reload(spec, settings.digest)
        return f"{spec.name} stood still for {stood * 1000:.1f} ms"


def _refuse_what_needs_a_restart(changes: Diff, old: Settings, new: Settings) -> None:
    """Raises ReloadRefusedError that names each setting and plugin."""
    if found := needs_restart(changes, old, new):
        raise ReloadRefusedError(
            "these cannot change while the daemon runs, restart it: " + ", ".join(found)
        )
