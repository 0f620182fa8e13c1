"""One event that a plugin with state has a bug with, and all the others."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from tests.daemon.test_daemon import exit_code
from tests.services.streamd import Streamd

EVENTS = 3000
BAD = (700, 701, 2400)

PLUGIN = '''
"""Numbers the events of a partition."""
from streamd.api import Plugin, StageConfig, hookimpl


class Number:
    """Writes into each event how many came before it. Has a bug."""

    class Config(StageConfig, frozen=True):
        pass

    def __init__(self, config, context):
        self._counts, self._changed = {}, set()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc_info):
        return None

    def process(self, batch):
        (span,) = batch.spans
        numbered = []
        for event in batch.values:
            count = self._counts[span.partition] = self._counts.get(span.partition, 0) + 1
            self._changed.add(span.partition)
            numbered.append({**event, "count": count, "half": 1 / event["divisor"]})
        return [batch.replace(numbered)]

    def assign(self, partitions, rows):
        self.revoke(partitions)
        for partition, _key, value in rows:
            self._counts[partition] = int(value)

    def revoke(self, partitions):
        for partition in partitions:
            self._counts.pop(partition, None)
            self._changed.discard(partition)

    def take_changes(self):
        changes = [(p, b"count", str(self._counts[p]).encode()) for p in sorted(self._changed)]
        self._changed.clear()
        return changes


@hookimpl
def streamd_plugins():
    return [Plugin("transform", "number", Number)]
'''

CONFIG = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"
plugins_dir = ["../plugins.d"]

[pipeline.events]
on_failure = "exit"

[pipeline.events.source]
plugin = "file"
path = "../in.jsonl"
follow = false

[[pipeline.events.transform]]
id = "number"
plugin = "number"

[[pipeline.events.transform.policy]]
plugin = "retry"
max_retries = 1
initial = "100ms"

[[pipeline.events.transform.policy]]
plugin = "dead_letter"

[[pipeline.events.sink]]
id = "out"
plugin = "sqlite"
path = "out.db"
table = "events"
once = "key"
key = ["id"]

[pipeline.events.sink.columns]
id = { source = "id", type = "TEXT NOT NULL" }
count = { source = "count", type = "INTEGER NOT NULL" }

[[pipeline.events.sink]]
id = "dead"
plugin = "file"
path = "dead/{dlq_id}.json"
inputs = ["dead_letters"]
"""


def test_a_bug_that_one_event_meets_costs_no_other_event(tmp_path: Path) -> None:
    streamd = Streamd(tmp_path / "d", CONFIG)
    plugins = tmp_path / "plugins.d"
    plugins.mkdir()
    (plugins / "number.py").write_text(PLUGIN)
    events = [{"id": f"e{n:04}", "divisor": 0 if n in BAD else 2} for n in range(EVENTS)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    with streamd:
        assert exit_code(streamd) == 0, streamd.last_words()
        letters = [json.loads(path.read_text()) for path in (streamd.folder / "dead").iterdir()]
    good = [event["id"] for number, event in enumerate(events) if number not in BAD]
    assert stored(streamd.folder) == [(event, at + 1) for at, event in enumerate(good)]
    found: dict[str, dict[str, Any]] = {one["original_message"]["id"]: one for one in letters}
    assert sorted(found) == [f"e{number:04}" for number in BAD]
    for letter in found.values():
        assert letter["stage"] == "number"
        assert (letter["error"]["type"], letter["attempts"]) == ("ZeroDivisionError", 2)
        assert 'event["divisor"]' in letter["error"]["traceback"]


def stored(folder: Path) -> list[tuple[str, int]]:
    with sqlite3.connect(folder / "out.db") as db:
        return db.execute("SELECT id, count FROM events ORDER BY id").fetchall()
