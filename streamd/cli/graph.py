"""`streamd graph`: how the stages are wired, for Graphviz or Mermaid to draw."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from streamd import exits
from streamd.api import ConfigError
from streamd.engine.drawing import Drawing, draw
from streamd.settings import SettingsError, load

_DOT_SHAPES = {"source": "cds", "sink": "cylinder", "stream": "note"}
_MERMAID_SHAPES = {"source": ("([", "])"), "sink": ("[(", ")]"), "stream": ("{{", "}}")}


def graph(config: Path, form: str) -> int:
    """Print all pipelines; `form` is dot or mermaid. The same configuration gives the same text."""
    try:
        drawings = [draw(pipeline) for pipeline in load(config).pipelines]
    except (SettingsError, ConfigError) as error:
        print(error, file=sys.stderr)
        return exits.CONFIG
    print("\n".join((_dot if form == "dot" else _mermaid)(drawings)))
    return exits.OK


def _dot(drawings: list[Drawing]) -> Iterator[str]:
    yield "digraph streamd {"
    yield "  rankdir=LR;"
    yield "  node [shape=box];"
    for number, drawing in enumerate(drawings):
        yield f"  subgraph cluster_{number} {{"
        yield f"    label={_quoted(drawing.pipeline)};"
        for node in drawing.nodes:
            shape = f", shape={_DOT_SHAPES[node.kind]}" if node.kind in _DOT_SHAPES else ""
            label = _quoted("\n".join(filter(None, (node.name, node.note))))
            yield f"    p{number}_{node.key} [label={label}{shape}];"
        for edge in drawing.edges:
            style = "style=dashed" if edge.failed else f"label={_quoted(edge.label)}"
            yield f"    p{number}_{edge.start} -> p{number}_{edge.end} [{style}];"
        yield "  }"
    yield "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _mermaid(drawings: list[Drawing]) -> Iterator[str]:
    yield "flowchart LR"
    for number, drawing in enumerate(drawings):
        yield f'  subgraph p{number}["{_plain(drawing.pipeline)}"]'
        for node in drawing.nodes:
            left, right = _MERMAID_SHAPES.get(node.kind, ("[", "]"))
            label = "<br/>".join(map(_plain, filter(None, (node.name, node.note))))
            yield f'    p{number}_{node.key}{left}"{label}"{right}'
        for edge in drawing.edges:
            line = "-.->" if edge.failed else "-->"
            label = f'|"{_plain(edge.label)}"|' if edge.label else ""
            yield f"    p{number}_{edge.start} {line}{label} p{number}_{edge.end}"
        yield "  end"


def _plain(text: str) -> str:
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;")
