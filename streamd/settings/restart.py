"""What of a configuration cannot change while the daemon runs: pure rules over data."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from streamd.settings.diff import Diff
from streamd.settings.model import Settings, StageSpec

LIVE = frozenset({"admin_token", "banner"})
"""Keys of [streamd] that may change while the daemon runs."""


def needs_restart(changes: Diff, old: Settings, new: Settings) -> list[str]:
    """Each setting, and each plugin in use whose code is not the one that runs, by name."""
    fixed = [f"[streamd] {name}" for name in changes.daemon if name not in LIVE]
    return fixed + sorted(set(_edited_plugins(old, new)))


def lost_state(spec: StageSpec, key: str | None, held: Collection[str]) -> str:
    """Why a step cannot go on: it has state that these settings would lose. Empty: it can.

    `key` is the state key of the new settings (None: it keeps no state), `held` those of the
    state that there is.
    """
    if key is None or spec.reset_state or not set(held) - {key}:
        return ""
    return (
        f"{spec.path}: with these settings {spec.id} would lose the state that it keeps;"
        " set reset_state = true on it to start it anew"
    )


def _edited_plugins(old: Settings, new: Settings) -> Iterator[str]:
    running = {(role, name): cls for role, name, cls in _used(old)}
    for role, name, cls in _used(new):
        if running.get((role, name), cls) is not cls:
            yield f"the code of {role} {name}"


def _used(settings: Settings) -> Iterator[tuple[str, str, Any]]:
    for pipeline in settings.pipelines:
        stages = (*pipeline.sources, *pipeline.steps, *pipeline.sinks)
        policies = [*pipeline.policies, *(p for s in stages for p in s.policies or ())]
        codecs = [stage.codec for stage in stages if stage.codec is not None]
        for spec in (*stages, *policies, *codecs):
            yield spec.role, spec.plugin, spec.cls
