"""What a reload would do, told from pairs of configurations, and whether the engine agrees."""

from pathlib import Path
from typing import Any

import pytest

from streamd.cli.diff import report
from streamd.engine.forecast import Forecast, PipelineForecast, StageForecast, forecast
from streamd.engine.stages import make_stages
from streamd.settings import Settings, load
from streamd.settings.construct import InertControl
from streamd.testing.harness import surroundings
from streamd.testing.memory import MemoryStore

BASE = """
[pipeline.events.source]
id = "in"
plugin = "generator"
rate = 5
[[pipeline.events.transform]]
id = "tidy"
plugin = "map"
set = { by = "'me'" }
[[pipeline.events.window]]
id = "minutes"
plugin = "tumbling"
size = "60s"
aggregate = { events = "count()" }
[[pipeline.events.sink]]
id = "out"
plugin = "file"
path = "out.jsonl"
[[pipeline.events.sink]]
id = "results"
plugin = "stdout"
inputs = ["minutes"]
"""
DEAD = """
[[pipeline.events.sink]]
id = "dead"
plugin = "file"
inputs = ["dead_letters"]
"""
WINDOW = BASE[BASE.index("[[pipeline.events.window]]") : BASE.index("[[pipeline.events.sink]]")]
RESULTS = BASE[BASE.index('[[pipeline.events.sink]]\nid = "results"') :]
FLOOR = "finishes what is in flight, closes, and opens where it was"
OTHER = BASE.replace("pipeline.events", "pipeline.other")
STATE = "pipeline.events.window[0]: with these settings minutes would lose the state that it keeps"

Stages = dict[str, tuple[Any, ...]]


def longer(*more: str) -> str:
    return BASE.replace('size = "60s"', "\n".join(('size = "300s"', *more)))


# What becomes of the stages that do not just stay: action, changed keys, note.
CASES: list[tuple[str, str, str, Stages, tuple[str, ...]]] = [
    ("nothing", BASE, BASE, {}, ()),
    (
        "a source's setting",
        BASE,
        BASE.replace("rate = 5", "rate = 6"),
        {"in": ("restarts", ("rate",), FLOOR)},
        (),
    ),
    (
        "a codec",
        BASE,
        BASE.replace("rate = 5", 'rate = 5\ncodec = "text"'),
        {"in": ("restarts", ("codec",), FLOOR)},
        (),
    ),
    (
        "a step",
        BASE,
        BASE.replace("'me'", "'you'"),
        {"tidy": ("replaced", ("set",), "")},
        (),
    ),
    (
        "a sink's target",
        BASE,
        BASE.replace("out.jsonl", "more.jsonl"),
        {"out": ("replaced", ("path",), "its queue stays, the new one writes it")},
        (),
    ),
    (
        "a sink's limits",
        BASE,
        BASE.replace('path = "out.jsonl"', 'path = "out.jsonl"\nbatch = { rows = 7 }'),
        {"out": ("rewired", ("batch",), "")},
        (),
    ),
    (
        "a stage's policies",
        BASE,
        BASE.replace(
            'path = "out.jsonl"',
            'path = "out.jsonl"\n[[pipeline.events.sink.policy]]\nplugin = "block"',
        ),
        {"out": ("rewired", ("policy",), "")},
        (),
    ),
    (
        "a sink comes, one goes",
        BASE,
        BASE.replace('id = "out"', 'id = "other"'),
        {
            "other": ("new", (), "gets what is read from now on"),
            "out": ("removed", (), "drains, then closes"),
        },
        (),
    ),
    (
        "another plugin by the same id",
        BASE,
        BASE.replace('plugin = "stdout"', 'plugin = "drop"'),
        {"results": ("replaced", ("plugin",), "its queue stays, the new one writes it")},
        (),
    ),
    (
        "a window that would lose its panes",
        BASE,
        longer(),
        {"minutes": ("replaced", ("size",), "would lose its state")},
        (STATE,),
    ),
    (
        "a window that may lose its panes",
        BASE,
        longer("reset_state = true"),
        {"minutes": ("replaced", ("reset_state", "size"), "its state starts anew")},
        (),
    ),
    (
        "a window that goes",
        BASE,
        BASE.replace(WINDOW, "").replace(RESULTS, ""),
        {
            "minutes": ("removed", (), "the state that it keeps is deleted"),
            "results": ("removed", (), "drains, then closes"),
        },
        (),
    ),
    (
        "an address",
        BASE,
        '[streamd]\nadmin = "127.0.0.1:9"\nlog_level = "debug"\n' + BASE,
        {},
        (
            "[streamd] admin cannot change while the daemon runs: restart it",
            "[streamd] log_level cannot change while the daemon runs: restart it",
        ),
    ),
]
IDS = [case[0] for case in CASES]


def settings(text: str, tmp_path: Path) -> Settings:
    path = tmp_path / "streamd.toml"
    path.write_text(text)
    return load(path, {})


def told(old: str, new: str, tmp_path: Path) -> Forecast:
    return forecast(settings(old, tmp_path), settings(new, tmp_path))


def events(found: Forecast) -> PipelineForecast:
    (pipeline,) = [one for one in found.pipelines if one.name == "events"]
    return pipeline


@pytest.mark.parametrize(("name", "old", "new", "stages", "refusals"), CASES, ids=IDS)
def test_forecast(
    name: str, old: str, new: str, stages: Stages, refusals: tuple[str, ...], tmp_path: Path
) -> None:
    found = told(old, new, tmp_path)
    moved = [stage for stage in events(found).stages if stage.action != "stays"]
    assert {s.id: (s.action, tuple(sorted(s.keys)), s.note) for s in moved} == stages
    assert len(found.refusals) == len(refusals)
    for given, start in zip(found.refusals, refusals, strict=True):
        assert given.startswith(start)
    assert found.empty == (name == "nothing")


@pytest.mark.parametrize(("name", "old", "new", "stages", "refusals"), CASES, ids=IDS)
def test_the_engine_keeps_the_objects_that_are_said_to_stay(
    name: str, old: str, new: str, stages: Stages, refusals: tuple[str, ...], tmp_path: Path
) -> None:
    before, after = settings(old, tmp_path), settings(new, tmp_path)
    around = surroundings(MemoryStore(), state_dir=tmp_path)
    first = make_stages(before.pipelines[0], around, lambda _source: InertControl())
    second = make_stages(after.pipelines[0], around, lambda _source: InertControl(), first)
    kept = {stage for stage, made in second.objects().items() if first.objects().get(stage) is made}
    found = events(forecast(before, after)).stages
    assert {stage.id for stage in found if stage.action in ("stays", "rewired")} == kept


def test_a_reader_of_dead_letters_changes_what_failures_do(tmp_path: Path) -> None:
    found = events(told(BASE, BASE + DEAD, tmp_path))
    actions = {stage.id: stage.action for stage in found.stages}
    assert actions.pop("dead") == "new"
    assert set(actions.values()) == {"rewired"}
    assert found.options == ("policy",)


def test_pipelines_come_go_and_stay(tmp_path: Path) -> None:
    found = told(BASE + OTHER, OTHER + BASE.replace("pipeline.events", "pipeline.more"), tmp_path)
    assert (found.added, found.removed, found.refusals) == (("more",), ("events",), ())
    assert [(one.name, one.empty) for one in found.pipelines] == [("other", True)]
    assert list(report(found)) == [
        "A reload would do this:",
        "  pipeline more: starts",
        "  pipeline events: drains and ends",
        "  pipeline other: stays as it is",
    ]


def test_own_keys_and_the_order_of_steps(tmp_path: Path) -> None:
    at = BASE.index(WINDOW)
    head = '[[pipeline.events.transform]]\nplugin = "filter"\nid = "{}"\ncondition = "true"\n'
    one, other = head.format("one"), head.format("other")
    old = BASE[:at] + one + other + BASE[at:]
    new = "[pipeline.events]\nmax_events = 500\n" + BASE[:at] + other + one + BASE[at:]
    found = told(old, new, tmp_path)
    assert (events(found).order, events(found).options) == (True, ("max_events",))
    assert {stage.action for stage in events(found).stages} == {"stays"}
    assert list(report(found))[-2:] == [
        "    the pipeline's own keys: max_events",
        "    its stages run in another order",
    ]


def test_edited_plugin_code(tmp_path: Path) -> None:
    code = (
        "from streamd.api import FunctionStep, Plugin, StageConfig, hookimpl\n"
        "class Tag(FunctionStep):\n"
        "    class Config(StageConfig, frozen=True):\n        pass\n"
        "    def __init__(self, config, context):\n"
        "        super().__init__(lambda event: event)\n"
        "@hookimpl\ndef streamd_plugins():\n"
        "    return [Plugin('transform', 'tag', Tag)]\n"
    )
    (tmp_path / "plugins.d").mkdir()
    plugin = tmp_path / "plugins.d" / "tag.py"
    text = '[streamd]\nplugins_dir = ["plugins.d"]\n' + BASE.replace(
        'plugin = "map"\nset = { by = "\'me\'" }', 'plugin = "tag"'
    )
    plugin.write_text(code)
    before = settings(text, tmp_path)
    assert forecast(before, settings(text, tmp_path)).empty
    plugin.write_text(code + "# edited\n")
    found = forecast(before, settings(text, tmp_path))
    assert found.refusals == (
        "the code of transform tag cannot change while the daemon runs: restart it",
    )
    (tidy,) = [stage for stage in events(found).stages if stage.action != "stays"]
    assert tidy.keys == ("the plugin's code",)


def test_the_report_of_a_refusal() -> None:
    found = Forecast(
        ("[streamd] admin cannot change while the daemon runs: restart it",),
        ("banner",),
        (),
        (),
        (
            PipelineForecast(
                "events",
                (
                    StageForecast("source", "in", "restarts", ("rate", "seed"), FLOOR),
                    StageForecast("sink", "results", "stays"),
                ),
            ),
        ),
    )
    assert "\n".join(report(found)) == (
        "A reload would be refused; the old configuration would go on:\n"
        "  [streamd] admin cannot change while the daemon runs: restart it\n"
        "\n"
        "What differs:\n"
        "  [streamd] banner: changes at once\n"
        "  pipeline events:\n"
        f"    source  in       restarts  rate, seed; {FLOOR}\n"
        "    sink    results  stays"
    )
