"""The dashboard: not stale, well laid out, and every query is one that Prometheus can answer."""

import json
import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

from scripts import grafana_dashboard
from tests.unit.shipped.exposition import exposed, mistakes

TEXT = grafana_dashboard.TARGET.read_text("utf-8")
PANELS = json.loads(TEXT)["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]


def test_it_is_not_stale() -> None:
    """When this fails: python -m scripts.grafana_dashboard"""
    assert grafana_dashboard.text() == TEXT


def test_only_series_that_exist_are_drawn() -> None:
    assert len(QUERIES) > 20
    assert mistakes(TEXT, exposed()) == []


def test_prometheus_understands_each_query(promtool: str, tmp_path: Path) -> None:
    """As recording rules, since that is what promtool can check."""
    plain = [
        expr.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$pipeline", ".*")
        for expr in QUERIES
    ]
    rules = [{"record": f"query:{n}", "expr": expr} for n, expr in enumerate(plain)]
    path = tmp_path / "rules.yml"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", path], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not any("$" in expr for expr in plain)


def test_labels_in_legends_are_those_that_the_query_keeps() -> None:
    for panel in PANELS:
        for target in panel.get("targets", ()):
            for kept in re.findall(r"by \(([^)]*)\)", target["expr"]):
                shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                assert shown <= set(kept.split(", ")), panel["title"]


def test_no_panel_lies_on_another() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for one, other in combinations((panel["gridPos"] for panel in PANELS), 2):
        assert apart(one, other), (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)


def apart(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(
        one["x"] + one["w"] <= other["x"]
        or other["x"] + other["w"] <= one["x"]
        or one["y"] + one["h"] <= other["y"]
        or other["y"] + other["h"] <= one["y"]
    )
