"""An event that fails validation is counted in both metrics, whatever the mode, once each."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from streamd.engine.pipeline import Pipeline
from streamd.settings.loader import load
from streamd.telemetry.metrics import Telemetry
from streamd.testing.harness import surroundings
from streamd.testing.memory import MemoryStore

CONFIG = """
[pipeline.main.source]
plugin = "file"
path = "{folder}/in.jsonl"

{before}
[[pipeline.main.validate]]
id = "check"
plugin = "event"
mode = "{mode}"

[[pipeline.main.sink]]
id = "out"
plugin = "file"
path = "{folder}/out.jsonl"

[[pipeline.main.sink]]
id = "dead"
plugin = "drop"
inputs = ["dead_letters"]
"""
APART = '[[pipeline.main.validate]]\nid = "first"\nplugin = "event"\nmode = "disabled"\n'
GOOD = {"id": "1", "timestamp": "2025-11-19T10:30:00Z", "payload": {"event_type": "metric"}}
GOOD["payload"] |= {"source": "s", "data": {}}  # type: ignore[operator]


@pytest.mark.parametrize("before", ["", APART], ids=["decoded in one pass", "apart"])
@pytest.mark.parametrize(("mode", "passed"), [("strict", 3), ("warn", 8)])
async def test_counts(tmp_path: Path, mode: str, passed: int, before: str) -> None:
    events = [GOOD] * 3 + [{**GOOD, "id": 5}] * 4 + [{**GOOD, "payload": {}}]
    lines = [*map(msgspec.json.encode, events), b"{"]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    config = CONFIG.format(folder=tmp_path, mode=mode, before=before)
    (tmp_path / "streamd.toml").write_text(config)
    (spec,) = load(tmp_path / "streamd.toml").pipelines
    telemetry = Telemetry()
    around = surroundings(MemoryStore(), state_dir=tmp_path, telemetry=telemetry)
    await Pipeline(spec, around).run()
    shown = telemetry.exposition()[0].decode().splitlines()
    for name in (
        'consumer_validation_failures_total{reason="REASON"}',
        'streamd_validation_failures_total{pipeline="main",reason="REASON",stage="check"}',
    ):
        assert f"{name} 4.0".replace("REASON", "wrong_type") in shown
        assert f"{name} 1.0".replace("REASON", "missing_field") in shown
    assert 'consumer_validation_failures_total{reason="malformed_json"} 1.0' in shown
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == passed
