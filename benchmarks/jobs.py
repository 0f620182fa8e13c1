"""The jobs that are compared, and their form as a streamd configuration."""

from __future__ import annotations

from typing import Literal

Job = Literal["consume", "validate", "clickhouse"]
JOBS: tuple[Job, ...] = ("consume", "validate", "clickhouse")

TITLES: dict[Job, str] = {
    "consume": "Kafka -> decode -> drop",
    "validate": "Kafka -> decode, validate -> drop",
    "clickhouse": "Kafka -> decode, validate -> ClickHouse (6 columns)",
}

_SOURCE = """\
[streamd]
state_dir = "{state_dir}"
admin = ""
log_level = "warning"
uvloop = {uvloop}

[pipeline.bench.source]
plugin = "kafka"
bootstrap_servers = "{bootstrap}"
topics = ["{topic}"]
group_id = "{group}"
"""

_VALIDATE = """
[[pipeline.bench.validate]]
plugin = "event"
"""

_DROP = """
[[pipeline.bench.sink]]
id = "out"
plugin = "drop"
"""

_CLICKHOUSE = """
[[pipeline.bench.sink]]
id = "out"
plugin = "clickhouse"
url = "{clickhouse}"
table = "{table}"
create_table = true
"""


def configuration(job: Job, **places: str) -> str:
    """The TOML of a job; `places` fills in servers, topic, group and directories."""
    parts = {
        "consume": (_SOURCE, _DROP),
        "validate": (_SOURCE, _VALIDATE, _DROP),
        "clickhouse": (_SOURCE, _VALIDATE, _CLICKHOUSE),
    }
    return "".join(parts[job]).format(**places)
