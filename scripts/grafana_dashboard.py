"""The Grafana dashboard, from the table of its panels to the JSON that Grafana imports.

    python -m scripts.grafana_dashboard

writes `config/grafana/streamd.json`; a test fails when that is stale. Standard library only.
"""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from scripts.grafana_panels import ROWS, Panel

TARGET = Path(__file__).resolve().parents[1] / "config" / "grafana" / "streamd.json"

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS, HEIGHT = 24, 8


def dashboard() -> dict[str, Any]:
    return {
        "uid": "streamd",
        "title": "streamd",
        "tags": ["streamd"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}
    for name, query in (
        ("instance", "label_values(streamd_pipeline_up, instance)"),
        ("pipeline", 'label_values(streamd_pipeline_up{instance=~"$instance"}, pipeline)'),
    ):
        yield {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": DATASOURCE,
            "definition": query,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        }


def _panels() -> Iterator[dict[str, Any]]:
    numbers, top = count(1), 0
    for title, panels in ROWS.items():
        where = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        yield {"id": next(numbers), "type": "row", "title": title, "gridPos": where, "panels": []}
        height = HEIGHT // 2 if panels[0].kind == "stat" else HEIGHT
        width = COLUMNS // len(panels)
        for place, panel in enumerate(panels):
            where = {"x": place * width, "y": top + 1, "w": width, "h": height}
            yield {"id": next(numbers), "gridPos": where, **_drawn(panel)}
        top += 1 + height


def _drawn(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    defaults = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + n), "expr": expr, "legendFormat": legend or "__auto"}
            for n, (expr, legend) in enumerate(panel.queries)
        ],
    }


def text() -> str:
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
