"""What a daemon exposes: every series that streamd and its plugins can make, with its labels."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from streamd.api import Reject, Rejected
from streamd.telemetry.metrics import Telemetry

ROOT = Path(__file__).resolve().parents[3]
KINDS = ("counter", "gauge", "histogram")

Series = dict[str, frozenset[str]]


def exposed() -> Series:
    """Names of series, as Prometheus stores them, with the names of their labels."""
    telemetry = Telemetry()
    _make_all_of_the_engine(telemetry)
    stage = telemetry.stage("p", "s")
    for kind, name, labels in metrics_of_plugins(ROOT / "plugins"):
        getattr(stage, kind)(name, "", **dict.fromkeys(labels, "x"))
    return {
        sample.name: frozenset(sample.labels)
        for family in telemetry.registry.collect()
        for sample in family.samples
    }


def _make_all_of_the_engine(telemetry: Telemetry) -> None:
    """Some metrics appear only when what they count happens."""
    telemetry.reloads()
    telemetry.pipeline("p").backlog(1)
    stage = telemetry.stage("p", "s")
    refused = Rejected({0: Reject("reason", "message")})
    stage.rejected(refused)
    stage.validation_failed(refused.rows.values())
    stage.dead_lettered(Counter(["ValueError"]))
    stage.dropped("reason", 1)


def metrics_of_plugins(root: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Kind, name and labels of each metric that the code of plugins asks for.

    A name is a string, or a variable that runs over the keys of a table of the module.
    """
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for call in ast.walk(tree):
            kind = _kind(call)
            if isinstance(call, ast.Call) and kind and call.args:
                labels = tuple(word.arg for word in call.keywords if word.arg)
                for name in _names(call.args[0], tree):
                    yield kind, name, labels


def _kind(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    called = node.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name if name in KINDS else ""


def _names(argument: ast.expr, tree: ast.Module) -> Iterator[str]:
    if isinstance(argument, ast.Constant):
        yield str(argument.value)
        return
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            for key in node.value.keys:
                if isinstance(key, ast.Constant) and re.fullmatch(r"[a-z_]+", str(key.value)):
                    yield str(key.value)


_OF_STREAMD = re.compile(r"\b((?:streamd|consumer|dlq)_[a-z0-9_]+)(\{[^}]*\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_ADDED_BY_PROMETHEUS = frozenset({"job", "instance", "le"})


def mistakes(text: str, series: Series) -> list[str]:
    """Series in a text (rules, a dashboard, their tests) that no daemon exposes, and labels that
    they do not have."""
    found = []
    for name, selector in _OF_STREAMD.findall(text.replace('\\"', '"')):
        if name not in series:
            found.append(f"no such series: {name}")
            continue
        values_gone = re.sub(r'"[^"]*"', "", selector)
        unknown = set(_LABEL.findall(values_gone)) - series[name] - _ADDED_BY_PROMETHEUS
        found += [f"{name} has no label {label}" for label in sorted(unknown)]
    return found
