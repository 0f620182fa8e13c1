"""What a reload would change, from pairs of configurations."""

from pathlib import Path

import pytest

from streamd.settings import Settings, load
from streamd.settings.diff import Diff, PipelineDiff, diff

BASE = """
[pipeline.events.source]
plugin = "numbers"
topics = ["a"]
[[pipeline.events.validate]]
plugin = "check"
[[pipeline.events.transform]]
plugin = "route"
[[pipeline.events.sink]]
id = "store"
plugin = "store"
"""
DEAD = """
[[pipeline.events.sink]]
id = "dead"
plugin = "store"
inputs = ["dead_letters"]
"""
OTHER = BASE.replace("events", "other")
SINK = "[[pipeline.events.sink]]"
STAGES = ("numbers", "check", "route", "store")


def with_ids(validator: str, transform: str) -> str:
    text = BASE.replace('plugin = "check"', f'plugin = "check"\nid = "{validator}"')
    return text.replace('plugin = "route"', f'plugin = "route"\nid = "{transform}"')


def settings(text: str, tmp_path: Path) -> Settings:
    path = tmp_path / "streamd.toml"
    path.write_text(text)
    return load(path, {})


def same(**changes: object) -> PipelineDiff:
    return PipelineDiff(**{"unchanged": STAGES, **changes})  # type: ignore[arg-type]


CASES = [
    ("nothing", BASE, BASE, Diff((), (), (), {"events": same()})),
    ("comments and lines", BASE, "\n# moved\n" + BASE, Diff((), (), (), {"events": same()})),
    (
        "a setting",
        BASE,
        BASE.replace('["a"]', '["b"]'),
        Diff((), (), (), {"events": same(unchanged=STAGES[1:], changed=("numbers",))}),
    ),
    (
        "a default written out",
        BASE,
        BASE.replace('["a"]', '["a"]\nmax_rows = 100\ncodec = "json"'),
        Diff((), (), (), {"events": same()}),
    ),
    (
        "a codec's setting",
        BASE,
        BASE + 'codec = { plugin = "json", indent = 2 }',
        Diff((), (), (), {"events": same(unchanged=STAGES[:3], changed=("store",))}),
    ),
    (
        "a stage's policy",
        BASE,
        BASE + '[[pipeline.events.sink.policy]]\nplugin = "block"',
        Diff((), (), (), {"events": same(unchanged=STAGES[:3], changed=("store",))}),
    ),
    (
        "the pipeline's policy",
        BASE,
        BASE + '[[pipeline.events.policy]]\nplugin = "block"',
        Diff((), (), (), {"events": same(policies=True)}),
    ),
    (
        "a reader of dead letters, which changes the default policies",
        BASE,
        BASE + DEAD,
        Diff((), (), (), {"events": same(added=("dead",), policies=True)}),
    ),
    (
        "an inserted stage, which moves the others",
        BASE + DEAD,
        BASE.replace(SINK, "[[pipeline.events.sink]]\nid='x'\nplugin='store'\n" + SINK) + DEAD,
        Diff((), (), (), {"events": same(unchanged=(*STAGES, "dead"), added=("x",))}),
    ),
    (
        "a stage that became another role's",
        with_ids("x", "y"),
        with_ids("y", "x"),
        Diff(
            (),
            (),
            (),
            {
                "events": PipelineDiff(
                    unchanged=("numbers", "store"), added=("y", "x"), removed=("x", "y")
                )
            },
        ),
    ),
    (
        "an option",
        BASE,
        "[pipeline.events]\nmax_events = 5\n" + BASE,
        Diff((), (), (), {"events": same(options=True)}),
    ),
    (
        "the daemon",
        BASE,
        '[streamd]\nadmin = ""\nlog_level = "debug"\n' + BASE,
        Diff(("admin", "log_level"), (), (), {"events": same()}),
    ),
    ("another pipeline", BASE, BASE + OTHER, Diff((), ("other",), (), {"events": same()})),
    ("one pipeline less", BASE + OTHER, OTHER, Diff((), (), ("events",), {"other": same()})),
]


@pytest.mark.parametrize(("name", "old", "new", "expected"), CASES, ids=[case[0] for case in CASES])
def test_diff(name: str, old: str, new: str, expected: Diff, tmp_path: Path) -> None:
    found = diff(settings(old, tmp_path), settings(new, tmp_path))
    assert found == expected
    assert found.empty == name.startswith(("nothing", "comments", "a default"))


def test_steps_in_another_order(tmp_path: Path) -> None:
    two = BASE.replace(
        "[[pipeline.events.sink]]",
        '[[pipeline.events.transform]]\nid = "second"\nplugin = "route"\n[[pipeline.events.sink]]',
    )
    turned = two.replace('"route"\n', '"route"\nid = "second"\n', 1).replace(
        'id = "second"\nplugin', 'id = "route"\nplugin'
    )
    found = diff(settings(two, tmp_path), settings(turned, tmp_path)).pipelines["events"]
    assert (found.order, found.changed, found.empty) == (True, (), False)
