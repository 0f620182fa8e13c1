"""Event-time windows through kill -9: the same rows, under the same ids, as without."""

import random
import sqlite3
import time
from pathlib import Path

from tests.services.streamd import Streamd

EVENTS = 120_000
CONFIG = f"""
[streamd]
state_dir = "{{state_dir}}"
admin = "{{admin}}"

[pipeline.events]
epoch_time = "100ms"
epoch_events = 4000
max_events = 12000

[pipeline.events.source]
plugin = "generator"
rate = 40000
count = {EVENTS}
partitions = 3
seed = 7
start = "2025-11-19T10:30:00Z"

[[pipeline.events.window]]
id = "per_tenth"
plugin = "tumbling"
size = "100ms"
key = ["payload.source"]
time = "timestamp"
out_of_orderness = "2s"
aggregate = {{ events = "count()", users = "distinct(payload.user_id)", first = "first(id)" }}

[[pipeline.events.window]]
id = "visits"
plugin = "session"
gap = "10ms"
key = ["payload.user_id"]
time = "timestamp"
out_of_orderness = "2s"
aggregate = {{ events = "count()" }}

[[pipeline.events.sink]]
id = "windows"
plugin = "sqlite"
path = "windows.db"
table = "windows"
inputs = ["per_tenth", "visits"]
once = "key"
key = ["id"]

[pipeline.events.sink.columns]
id = {{ source = "id", type = "TEXT NOT NULL" }}
row = "@json"
"""


def rows(folder: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(folder / "windows.db") as db:
        return db.execute(
            "SELECT id, json_remove(row, '$.watermark') FROM windows ORDER BY id"
        ).fetchall()


def finish(streamd: Streamd) -> None:
    """A bounded pipeline ends the daemon; it counts as started once it answers."""
    process = streamd._process
    assert process is not None
    assert process.wait(60) == 0, streamd.last_words()


def test_windows_are_those_of_a_run_that_nothing_disturbs(tmp_path: Path) -> None:
    with Streamd(tmp_path / "clean", CONFIG) as clean:
        finish(clean)
        expected = rows(clean.folder)
    assert len(expected) > 1000
    moments = random.Random(3)
    with Streamd(tmp_path / "killed", CONFIG) as killed:
        for _ in range(6):
            time.sleep(moments.uniform(0.2, 0.6))
            killed.kill()
            killed.start()
        finish(killed)
        assert rows(killed.folder) == expected
