"""`streamd check` and `streamd echo`: what a configuration means, and whether it would work."""

from __future__ import annotations

import sys
from pathlib import Path

from streamd import exits
from streamd.settings import Problem, Settings, SettingsError, document, load, render


def check(config: Path, *, connect: bool, timeout: float) -> int:
    """Without `connect` nothing is connected to; `timeout` is for each stage, in seconds."""
    loaded = _load_with_tests(config)
    if loaded is None:
        return exits.CONFIG
    settings, tests = loaded
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
    tested = f", {tests} tests" if tests else ""
    print(f"{config}: good ({names}; {stages} stages{tested})")
    return exits.OK


def echo(config: Path) -> int:
    """Print the effective configuration."""
    settings = _load(config)
    if settings is None:
        return exits.CONFIG
    print(render(settings), end="")
    return exits.OK


def _load_with_tests(config: Path) -> tuple[Settings, int] | None:
    """The settings and how many tests the file holds, none of which is run."""
    found: list[Problem] = []
    settings, tests = None, 0
    try:
        settings = load(config)
    except SettingsError as error:
        found += error.problems
    try:
        tests = _tests_in(config)
    except SettingsError as error:
        # The tests meet the mistakes of what they test, too.
        known = {(problem.line, problem.path) for problem in found}
        found += (one for one in error.problems if (one.line, one.path) not in known)
    if settings is None or found:
        print(SettingsError(found), file=sys.stderr)
        return None
    return settings, tests


def _tests_in(config: Path) -> int:
    """Raises SettingsError with what is wrong in them, and in what they test."""
    if "test" not in document.read(config).data:
        return 0
    from streamd.testing.scenarios import read  # only where there are some

    return len(read(config))


def _load(config: Path) -> Settings | None:
    try:
        return load(config)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return None
