"""SIGHUP: another configuration for a running daemon, or the old one and the reason why."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

import structlog
from anyio import to_thread
from msgspec import Struct, structs

from streamd.engine.frames import let_go
from streamd.engine.phase import ReloadRefusedError
from streamd.engine.reload import Change
from streamd.engine.supervisor import Supervisor
from streamd.settings.diff import Diff, diff
from streamd.settings.loader import load
from streamd.settings.model import PipelineSpec, Settings
from streamd.settings.problems import SettingsError
from streamd.settings.restart import needs_restart
from streamd.telemetry.metrics import Telemetry


class ReloadResult(Struct, frozen=True):
    """How a reload went that ended at `time` (seconds since the epoch).

    `refusal` says why the old configuration goes on, as a whole or in part, and is empty if it
    does not; `changes` is what was changed.
    """

    time: float
    refusal: str
    changes: str


class Reloader:
    """Applies configurations to the supervised pipelines. `start` runs one that is new.

    `last` is how the last reload went, None before the first.
    """

    def __init__(
        self,
        supervisors: dict[str, Supervisor],
        start: Callable[[PipelineSpec, Settings], None],
        stopping: Callable[[], bool],
        telemetry: Telemetry,
    ) -> None:
        self.last: ReloadResult | None = None
        self._supervisors = supervisors
        self._start = start
        self._stopping = stopping
        self._leaving: dict[str, Supervisor] = {}
        self._metrics = telemetry.reloads()
        self._log = structlog.get_logger()

    @property
    def refused(self) -> bool:
        """Whether the last reload was refused, as a whole or in part."""
        return self.last is not None and bool(self.last.refusal)

    async def reload(self, old: Settings) -> Settings:
        """The configuration that is in force afterwards: the file's, or `old` if it is refused."""
        told: list[str] = []
        try:
            new = await to_thread.run_sync(load, old.path)
            changes = diff(old, new)
            self._refuse_for_now(changes)
            _refuse_what_needs_a_restart(changes, old, new)
            kept = await self._change(changes, new, told)
            if self._stopping():
                raise ReloadRefusedError("the daemon stops")
        except (SettingsError, ReloadRefusedError) as error:
            self._log.error("Reload refused; the old configuration goes on", reason=str(error))
            let_go(error)  # and so of all that was made for the new one
            return self._settled(old, str(error))
        except Exception as error:
            self._log.error("Reload failed; the old configuration goes on", exc_info=error)
            let_go(error)
            return self._settled(old, repr(error))
        self._come_and_go(changes, new, told)
        if kept:
            reason = "; ".join(f"{name} stays as it was: {why}" for name, why in kept.items())
            self._log.error("Reload refused in part", reason=reason, changes="; ".join(told))
            return self._settled(_mixed(old, new, kept), reason, told)
        self._log.info("Reloaded", changes="; ".join(told) or "nothing has changed")
        return self._settled(new, told=told)

    def _settled(self, settings: Settings, refusal: str = "", told: Sequence[str] = ()) -> Settings:
        self.last = ReloadResult(time.time(), refusal, "; ".join(told))
        self._metrics.done(not refusal, self.last.time)
        try:
            settings.catalog.hook.streamd_config_reloaded(accepted=not refusal, message=refusal)
        except Exception as error:  # whoever looks on must not stop what he looks at
            self._log.error("An observer of reloads failed", exc_info=error)
        return settings

    def _refuse_for_now(self, changes: Diff) -> None:
        """Raises ReloadRefusedError while the daemon stops, or a pipeline that is to come back
        has not ended yet: two lives of it would share a checkpoint."""
        if self._stopping():
            raise ReloadRefusedError("the daemon stops")
        self._leaving = {name: one for name, one in self._leaving.items() if not one.ended}
        if drains := sorted(self._leaving.keys() & set(changes.added)):
            raise ReloadRefusedError(f"still draining, try again later: {', '.join(drains)}")

    async def _change(self, changes: Diff, new: Settings, told: list[str]) -> dict[str, str]:
        """Ready every changed pipeline first, then let each take over: one that cannot be readied
        leaves all as they are. Returns those that stayed as they were after all, and why.

        Raises ReloadRefusedError if nothing has changed.
        """
        after = {spec.name: spec for spec in new.pipelines}
        names = [name for name, pipeline in changes.pipelines.items() if not pipeline.empty]
        ready = await self._ready([after[name] for name in names])
        kept: dict[str, str] = {}
        # Sources can still refuse, as two versions of one cannot be open at once: they go first.
        for name in sorted(ready, key=lambda name: not _replaces_sources(ready[name])):
            if self._stopping():
                kept[name] = "the daemon stops"
                continue
            if self._supervisors[name].ended:
                self._start(after[name], new)
                told.append(f"{name} starts again")
                continue
            try:
                stood = await self._supervisors[name].carry_out(
                    ready[name], after[name], new.digest
                )
                told.append(f"{name} stood still for {stood * 1000:.1f} ms")
            except Exception as error:
                if not isinstance(error, ReloadRefusedError):
                    self._log.error("Reload failed", pipeline=name, exc_info=error)
                kept[name] = str(error) or repr(error)
                let_go(error)
        return kept

    async def _ready(self, specs: Sequence[PipelineSpec]) -> dict[str, Change | None]:
        ready: dict[str, Change | None] = {}
        try:
            for spec in specs:
                supervisor = self._supervisors[spec.name]
                ready[spec.name] = None if supervisor.ended else await supervisor.prepare(spec)
        except Exception:
            for change in ready.values():
                if change is not None:
                    await change.abandon()
            raise
        return ready

    def _come_and_go(self, changes: Diff, new: Settings, told: list[str]) -> None:
        specs = {spec.name: spec for spec in new.pipelines}
        told.extend(f"[streamd] {key} changes" for key in changes.daemon)
        for name in changes.added:
            self._start(specs[name], new)
            told.append(f"{name} is new")
        for name in changes.removed:
            self._leaving[name] = self._supervisors.pop(name)
            self._leaving[name].remove()
            told.append(f"{name} is removed and drains")


def _replaces_sources(change: Change | None) -> bool:
    return change is not None and change.replaces_sources


def _mixed(old: Settings, new: Settings, kept: Collection[str]) -> Settings:
    """What is in force where some pipelines stayed as they were."""
    before = {spec.name: spec for spec in old.pipelines}
    pipelines = tuple(before[s.name] if s.name in kept else s for s in new.pipelines)
    return structs.replace(new, pipelines=pipelines)


def _refuse_what_needs_a_restart(changes: Diff, old: Settings, new: Settings) -> None:
    """Raises ReloadRefusedError that names each setting and plugin."""
    if found := needs_restart(changes, old, new):
        raise ReloadRefusedError(
            "these cannot change while the daemon runs, restart it: " + ", ".join(found)
        )
