"""`streamd graph`: what is drawn, in both languages."""

import re
from pathlib import Path

import pytest

from streamd import exits
from streamd.cli import main as cli
from streamd.engine.drawing import draw
from streamd.settings import load

CONFIG = """
[[pipeline.events.source]]
id = "made_up"
plugin = "generator"
[[pipeline.events.source]]
id = "inbox"
plugin = "file"
path = "in.jsonl"
[[pipeline.events.validate]]
plugin = "event"
[[pipeline.events.transform]]
id = "route"
plugin = "split"
routes = { clicks = "id == 1", waste = "id == 2" }
[[pipeline.events.window]]
id = "minutes"
plugin = "tumbling"
size = "60s"
inputs = ["clicks"]
[[pipeline.events.sink]]
id = "store"
plugin = "stdout"
[[pipeline.events.sink]]
id = "results"
plugin = "stdout"
inputs = ["minutes", "clicks"]
[[pipeline.events.sink.policy]]
plugin = "block"
[[pipeline.events.sink]]
id = "dead"
plugin = "stdout"
inputs = ["dead_letters"]

[pipeline.events]
drop_streams = ["waste"]

[pipeline.other.source]
plugin = "generator"
[[pipeline.other.sink]]
id = "store"
plugin = "stdout"
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("streamd.toml").write_text(CONFIG)


def test_what_is_drawn() -> None:
    drawing = draw(load(Path("streamd.toml")).pipelines[0])
    names = {node.key: node.name for node in drawing.nodes}
    assert len(names) == len(drawing.nodes)
    edges = [(names[e.start], e.label, names[e.end]) for e in drawing.edges if not e.failed]
    assert edges == [
        ("route", "clicks", "minutes"),
        ("route", "clicks", "results"),
        ("made_up", "main", "event"),
        ("inbox", "main", "event"),
        ("event", "main", "route"),
        ("route", "main", "store"),
        ("minutes", "minutes", "results"),
        ("route", "waste", "waste"),
    ]
    assert [(names[e.start], names[e.end]) for e in drawing.edges if e.failed] == [
        ("made_up", "dead_letters"),
        ("inbox", "dead_letters"),
        ("event", "dead_letters"),
        ("route", "dead_letters"),
        ("minutes", "dead_letters"),
        ("store", "dead_letters"),
        ("dead_letters", "dead"),
    ]
    kinds = {node.name: (node.kind, node.note) for node in drawing.nodes}
    assert kinds["waste"] == ("stream", "dropped")
    assert kinds["made_up"] == ("source", "source generator")


def test_dot(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["graph"]) == exits.OK
    out = capsys.readouterr().out
    assert out.startswith("digraph streamd {\n")
    assert out.count("{") == out.count("}") == 3
    assert '    p0_n0 [label="made_up\\nsource generator", shape=cds];\n' in out
    assert '    p0_n2 -> p0_n3 [label="main"];\n' in out
    assert "    p0_n0 -> p0_s0 [style=dashed];\n" in out
    drawn = set(re.findall(r"^    (p\d_\w+) \[", out, re.MULTILINE))
    assert drawn == set(re.findall(r"p\d_\w+", out))


def test_mermaid(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["graph", "--format", "mermaid"]) == exits.OK
    out = capsys.readouterr().out
    assert out.startswith('flowchart LR\n  subgraph p0["events"]\n')
    assert out.count("subgraph") == out.count("  end\n") == 2
    assert '    p0_n0(["made_up<br/>source generator"])\n' in out
    assert '    p0_n2 -->|"main"| p0_n3\n' in out
    assert "    p0_n0 -.-> p0_s0\n" in out


def test_the_same_configuration_gives_the_same_text(capsys: pytest.CaptureFixture[str]) -> None:
    texts = set()
    for _ in range(3):
        cli.main(["graph"])
        texts.add(capsys.readouterr().out)
    assert len(texts) == 1


def test_a_configuration_with_errors(capsys: pytest.CaptureFixture[str]) -> None:
    Path("streamd.toml").write_text(CONFIG.replace("routes", "roots"))
    assert cli.main(["graph"]) == exits.CONFIG
    assert 'did you mean "routes"?' in capsys.readouterr().err
