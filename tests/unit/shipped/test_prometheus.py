"""The alerts: Prometheus takes them, each is tested both ways, and each reads what there is."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.shipped.exposition import ROOT, exposed, metrics_of_plugins, mistakes

FOLDER = ROOT / "config" / "prometheus"
SERIES = exposed()


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_sample_and_the_alerts(promtool: str) -> None:
    run(promtool, "check", "config", "prometheus.yml")
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")


def test_the_alerts_fire_when_they_should(promtool: str) -> None:
    run(promtool, "test", "rules", "alerts_test.yml")


def test_each_alert_is_seen_to_fire_and_to_keep_still() -> None:
    alerts = re.findall(r"- alert: (\w+)", (FOLDER / "alerts.yml").read_text())
    cases = re.findall(
        r"alertname: (\w+)\s+eval_time: \w+\s+exp_alerts:( \[\])?",
        (FOLDER / "alerts_test.yml").read_text(),
    )
    assert len(alerts) > 10
    assert sorted(cases) == sorted((alert, still) for alert in alerts for still in ("", " []"))


@pytest.mark.parametrize("name", ["alerts.yml", "alerts_test.yml"])
def test_only_series_that_exist_are_read(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert "streamd_pipeline_up" in text
    assert mistakes(text, SERIES) == []


def test_names_of_metrics_are_found_wherever_plugins_ask_for_them() -> None:
    assert SERIES["streamd_kafka_lag_records"] == {"pipeline", "stage", "partition"}
    assert SERIES["streamd_window_open"] == {"pipeline", "stage"}
    assert "streamd_duplicate_events_total" in SERIES
    assert "streamd_kafka_lost_records_total" in SERIES
    assert SERIES["dlq_messages_total"] == {"error_type"}


def test_a_name_or_label_that_does_not_exist_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('context.metrics.gauge("depth", "How deep.", side="left")\n')
    assert list(metrics_of_plugins(tmp_path)) == [("gauge", "depth", ("side",))]
    text = 'rate(streamd_evnets_total[5m]) + streamd_pipeline_up{stage="a=b",pipeline=~"c"}'
    assert mistakes(text, SERIES) == [
        "no such series: streamd_evnets_total",
        "streamd_pipeline_up has no label stage",
    ]
