"""The `[[test]]` tables of a file, checked against its pipelines. Connects to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import msgspec

from streamd.engine.plan import readable_streams
from streamd.settings import document
from streamd.settings.convert import convert
from streamd.settings.lines import Path, line_of
from streamd.settings.model import PipelineSpec, Settings
from streamd.settings.problems import Problems, SettingsError, nearest
from streamd.testing.scenarios.arrivals import arrivals
from streamd.testing.scenarios.environment import load_for_test, merged
from streamd.testing.scenarios.matching import plain
from streamd.testing.scenarios.model import Expectation, Scenario
from streamd.testing.scenarios.script import Expected, Place, Script


def read(path: FilePath) -> list[Script]:
    """The tests of a configuration file; none if it has none.

    Raises SettingsError with every error found, in the tests and in what they test.
    """
    source = document.read(path)
    problems = Problems(str(path), source.lines)
    loaded = _Loaded(source)
    scripts = []
    for number, scenario in _scenarios(source.data.get("test", []), problems):
        where = ("test", number)
        settings = loaded.under(scenario.env)
        if settings is not None:
            script = _script(scenario, settings, where, problems)
            scripts += [] if script is None else [script]
    if found := merged([*loaded.errors, problems.found]):
        raise SettingsError(found)
    return scripts


class _Loaded:
    """The same file under different environments, each loaded once."""

    def __init__(self, source: document.Document) -> None:
        self.errors: list[SettingsError] = []
        self._source = source
        self._known: dict[frozenset[tuple[str, str]], Settings | None] = {}

    def under(self, env: Mapping[str, str]) -> Settings | None:
        """None where it cannot be loaded; `errors` tells why."""
        key = frozenset(env.items())
        if key not in self._known:
            try:
                self._known[key] = load_for_test(self._source, env)
            except SettingsError as error:
                self.errors.append(error)
                self._known[key] = None
        return self._known[key]


def _scenarios(tables: Any, problems: Problems) -> Iterator[tuple[int, Scenario]]:
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        problems.add(("test",), "expected tables [[test]]")
        return
    names: dict[str, int] = {}
    for number, table in enumerate(tables):
        scenario = convert(table, Scenario, ("test", number), problems)
        if isinstance(scenario, Scenario):
            if names.setdefault(scenario.name, number) != number:
                first = ("test", names[scenario.name], "name")
                where = ("test", number, "name")
                problems.add(where, "another test has this name already", first)
            yield number, scenario


def _script(
    scenario: Scenario, settings: Settings, path: Path, problems: Problems
) -> Script | None:
    """None where the test has errors."""
    pipeline = _pipeline(scenario, settings, path, problems)
    if pipeline is None:
        return None
    sinks = [sink.id for sink in pipeline.sinks]
    for number, fault in enumerate(scenario.fault):
        _check_name("sink", fault.sink, sinks, (*path, "fault", number, "sink"), problems)
    arriving = arrivals(scenario, pipeline, settings, path, problems)
    expected = [
        _expected(one, pipeline, (*path, "expect", number), problems)
        for number, one in enumerate(scenario.expect)
    ]
    if problems.within(path):
        return None
    return Script(
        where=_where(path, problems),
        scenario=scenario,
        settings=settings,
        pipeline=pipeline,
        arrivals=arriving,
        faults=scenario.fault,
        expected=tuple(one for one in expected if one is not None),
    )


def _pipeline(
    scenario: Scenario, settings: Settings, path: Path, problems: Problems
) -> PipelineSpec | None:
    known = {pipeline.name: pipeline for pipeline in settings.pipelines}
    if scenario.pipeline is None:
        if len(known) == 1:
            return settings.pipelines[0]
        problems.add(path, f"say which pipeline: {', '.join(known)}")
        return None
    _check_name("pipeline", scenario.pipeline, list(known), (*path, "pipeline"), problems)
    return known.get(scenario.pipeline)


def _expected(
    says: Expectation, pipeline: PipelineSpec, path: Path, problems: Problems
) -> Expected | None:
    if says.rows is None and says.count is None and not says.none:
        problems.add(path, "expects nothing: give rows, count or none")
    if says.none and (says.rows or says.count):
        problems.add((*path, "none"), "contradicts rows and count")
    rows = [
        _row(row, (*path, "rows", number), problems) for number, row in enumerate(says.rows or ())
    ]
    place = _place(says, pipeline, path, problems)
    return None if place is None else Expected(_where(path, problems), place, tuple(rows), says)


def _place(
    says: Expectation, pipeline: PipelineSpec, path: Path, problems: Problems
) -> Place | None:
    known: dict[str, Sequence[str]] = {
        "sink": [sink.id for sink in pipeline.sinks],
        "stream": sorted(readable_streams(pipeline)),
        "step": [step.id for step in pipeline.steps],
        "source": [source.id for source in pipeline.sources],
    }
    given = {kind: name for kind in known if (name := getattr(says, kind)) is not None}
    if len(given) != 1:
        problems.add(path, "say where to look: one of sink, stream, step and source")
        return None
    ((kind, name),) = given.items()
    _check_name(kind, name, known[kind], (*path, kind), problems)
    return Place(kind, name)


def _check_name(kind: str, name: str, known: Sequence[str], path: Path, problems: Problems) -> None:
    if name not in known:
        what = "no stage reads a stream" if kind == "stream" else f"no {kind} is"
        problems.add(path, f'{what} called "{name}"{nearest(name, known)}')


def _row(row: Any, path: Path, problems: Problems) -> Any:
    if not isinstance(row, str):
        return plain(row)
    try:
        return msgspec.json.decode(row)
    except (msgspec.MsgspecError, UnicodeError) as error:
        problems.add(path, f"a row in a string is JSON text: {error}")
        return None


def _where(path: Path, problems: Problems) -> str:
    return f"{problems.file}:{line_of(problems.lines, path)}"
