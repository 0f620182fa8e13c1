"""What of a configuration cannot change while the daemon runs. Compares data, runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streamd.settings.diff import Diff
from streamd.settings.model import Settings

LIVE = frozenset({"banner"})
"""Keys of [streamd] that may change while the daemon runs."""


def needs_restart(changes: Diff, old: Settings, new: Settings) -> list[str]:
    """Each setting, and each plugin in use whose code is not the one that runs, by name."""
    fixed = [f"[streamd] {name}" for name in changes.daemon if name not in LIVE]
    return fixed + sorted(set(_edited_plugins(old, new)))


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
