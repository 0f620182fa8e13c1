"""What a reload would do, told from two checked configurations by the rules that it goes by.

Runs nothing and opens nothing; what is in the state directory is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from streamd.api import Stateful
from streamd.engine.stages import identities
from streamd.settings.construct import build, context_for
from streamd.settings.diff import diff
from streamd.settings.model import PipelineSpec, Settings, StageSpec
from streamd.settings.render import stage_table
from streamd.settings.restart import LIVE, lost_state, needs_restart
from streamd.settings.toml import fields_of

Action = Literal["stays", "rewired", "replaced", "restarts", "new", "removed"]

_SOURCE_RESTARTS = "finishes what is in flight, closes, and opens where it was"
_NOTES: Mapping[tuple[str, Action], str] = {
    ("source", "new"): "begins to read",
    ("source", "removed"): "finishes what is in flight and closes",
    ("source", "restarts"): _SOURCE_RESTARTS,
    ("sink", "new"): "gets what is read from now on",
    ("sink", "removed"): "drains, then closes",
    ("sink", "replaced"): "its queue stays, the new one writes it",
}


class StageForecast(Struct, frozen=True):
    """What becomes of one stage. `keys` are those of its table that differ."""

    role: str
    id: str
    action: Action
    keys: tuple[str, ...] = ()
    note: str = ""


class PipelineForecast(Struct, frozen=True):
    """What becomes of a pipeline that is in both. `options` are its own keys that differ."""

    name: str
    stages: tuple[StageForecast, ...]
    options: tuple[str, ...] = ()
    order: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        stay = all(stage.action == "stays" for stage in self.stages)
        return stay and not (self.options or self.order)


class Forecast(Struct, frozen=True):
    """What a reload would do. With any of `refusals` it would do nothing at all.

    `live` are the keys of [streamd] that would change; `added` and `removed` name pipelines.
    """

    refusals: tuple[str, ...]
    live: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    pipelines: tuple[PipelineForecast, ...]

    @property
    def empty(self) -> bool:
        """Whether both configurations mean the same."""
        same = all(pipeline.empty for pipeline in self.pipelines)
        return same and not (self.refusals or self.live or self.added or self.removed)


def forecast(old: Settings, new: Settings) -> Forecast:
    """What a daemon that runs `old` would do when told to run `new`."""
    changes = diff(old, new)
    before = {pipeline.name: pipeline for pipeline in old.pipelines}
    restart = needs_restart(changes, old, new)
    refusals = [f"{what} cannot change while the daemon runs: restart it" for what in restart]
    pipelines = []
    for pipeline in new.pipelines:
        if pipeline.name in before:
            one = _Pipeline(before[pipeline.name], pipeline, old, new)
            pipelines.append(one.forecast(order=changes.pipelines[pipeline.name].order))
            refusals += one.refusals
    return Forecast(
        tuple(refusals),
        tuple(name for name in changes.daemon if name in LIVE),
        changes.added,
        changes.removed,
        tuple(pipelines),
    )


class _Pipeline:
    """Two versions of one pipeline."""

    def __init__(
        self, old: PipelineSpec, new: PipelineSpec, old_all: Settings, new_all: Settings
    ) -> None:
        self.refusals: list[str] = []
        self._old, self._new = old, new
        self._same = identities(old), identities(new)
        self._state = _state_keys(old, old_all), _state_keys(new, new_all)

    def forecast(self, *, order: bool) -> PipelineForecast:
        before, after = _stages(self._old), _stages(self._new)
        stages = [self._stage(before.get(place), spec) for place, spec in after.items()]
        stages += [self._removed(spec) for place, spec in before.items() if place not in after]
        options = _differ(fields_of(self._old.options), fields_of(self._new.options))
        if self._policies_differ(self._old.policies, self._new.policies):
            options = (*options, "policy")
        return PipelineForecast(self._new.name, tuple(stages), options, order)

    def _stage(self, old: StageSpec | None, new: StageSpec) -> StageForecast:
        role = new.role
        if old is None:
            return StageForecast(role, new.id, "new", (), _NOTES.get((role, "new"), ""))
        keys = self._changed_keys(old, new)
        before, after = self._same
        if before[old.id] == after[new.id]:
            return StageForecast(role, new.id, "rewired" if keys else "stays", keys)
        if not keys:
            keys = ("readers of a stream that it may write",)
        if role in ("source", "sink"):
            action: Action = "restarts" if role == "source" else "replaced"
            return StageForecast(role, new.id, action, keys, _NOTES[role, action])
        return StageForecast(role, new.id, "replaced", keys, self._fate_of_state(new))

    def _removed(self, old: StageSpec) -> StageForecast:
        note = _NOTES.get((old.role, "removed"), "")
        if old.id in self._state[0]:
            note = "the state that it keeps is deleted"
        return StageForecast(old.role, old.id, "removed", (), note)

    def _fate_of_state(self, new: StageSpec) -> str:
        held, key = (keys.get(new.id) for keys in self._state)
        if key is None:
            return "the state that it kept is deleted" if held else ""
        if held is None:
            return "keeps state from now on"
        if message := lost_state(new, key, {held}):
            self.refusals.append(message)
            return "would lose its state"
        return "its state moves over" if held == key else "its state starts anew"

    def _changed_keys(self, old: StageSpec, new: StageSpec) -> tuple[str, ...]:
        """Also of the pipeline's policies, where they apply to this stage."""
        keys = _differ(stage_table(old), stage_table(new))
        if old.plugin != new.plugin:
            keys = ("plugin",)
        elif old.cls is not new.cls:
            keys = (*keys, "the plugin's code")
        policies = (
            spec.policies if stage.policies is None else stage.policies
            for spec, stage in ((self._old, old), (self._new, new))
        )
        return (*keys, "policy") if self._policies_differ(*policies) else keys

    @staticmethod
    def _policies_differ(old: Any, new: Any) -> bool:
        before, after = ([(p.cls, p.config) for p in specs] for specs in (old, new))
        return before != after


def _stages(pipeline: PipelineSpec) -> dict[tuple[str, str], StageSpec]:
    """By what part of the engine holds them, and id."""
    return {
        (group, stage.id): stage
        for group in ("sources", "steps", "sinks")
        for stage in getattr(pipeline, group)
    }


def _state_keys(pipeline: PipelineSpec, settings: Settings) -> dict[str, str]:
    """The state keys of the steps that keep state."""
    state_dir = Path(settings.daemon.state_dir)
    return {
        step.id: step.config.state_key()
        for step in pipeline.steps
        if isinstance(
            build(step, context_for(step, pipeline, settings.catalog, state_dir)), Stateful
        )
    }


def _differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(key for key in {**old, **new} if old.get(key) != new.get(key))
