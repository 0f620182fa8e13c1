"""`streamd check` and `streamd echo`: what a configuration means, and whether it would work."""

from __future__ import annotations

import sys
from pathlib import Path

from streamd import exits
from streamd.settings import Settings, SettingsError, load, render


def check(config: Path, *, connect: bool, timeout: float) -> int:
    """Without `connect` nothing is connected to; `timeout` is for each stage, in seconds."""
    settings = _load(config)
    if settings is None:
        return exits.CONFIG
    for problem in settings.catalog.problems:
        print(f"warning: {problem}", file=sys.stderr)
    if connect:
        from streamd.cli.probe import probe

        return probe(settings, timeout)
    for pipeline in settings.pipelines:
        for stage in (*pipeline.sources, *pipeline.steps, *pipeline.sinks):
            for note in stage.config.notes():
                print(f"note: {pipeline.name}.{stage.id}: {note}")
    stages = sum(len((*one.sources, *one.steps, *one.sinks)) for one in settings.pipelines)
    names = ", ".join(pipeline.name for pipeline in settings.pipelines)
    print(f"{config}: good ({names}; {stages} stages)")
    return exits.OK


def echo(config: Path) -> int:
    """Print the effective configuration."""
    settings = _load(config)
    if settings is None:
        return exits.CONFIG
    print(render(settings), end="")
    return exits.OK


def _load(config: Path) -> Settings | None:
    try:
        return load(config)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return None
