"""The whole daemon: Kafka source, JSON, window, checkpoints, drop sink."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio

from benchmarks.peers.jobs import Job, expected
from benchmarks.peers.measure import Meter, arguments
from streamd.daemon import Daemon
from streamd.settings.loader import load
from streamd.telemetry import logs

_HEAD = """\
[streamd]
state_dir = "{folder}"
admin = ""
log_level = "warning"
"""

_SOURCE = """
[[pipeline.bench.source]]
id = "source{number}"
plugin = "kafka"
bootstrap_servers = "{brokers}"
topics = ["{topic}"]
group_id = "{group}_{number}"
output = "{output}"
"""

_WINDOW = """
[[pipeline.bench.window]]
id = "result"
plugin = "{kind}"
time = "record"
out_of_orderness = "0s"
idle_after = "0s"
close_idle_after = "0s"
{settings}

[[pipeline.bench.sink]]
id = "out"
plugin = "drop"
inputs = ["result"]
"""


def configuration(job: Job, places: dict[str, Any]) -> str:
    outputs = ("left", "right") if job.kind == "join" else ("main",)
    sources = (
        _SOURCE.format(number=number, topic=topic, output=output, **places)
        for number, (topic, output) in enumerate(zip(places["topics"], outputs, strict=True))
    )
    window = _WINDOW.format(kind=job.kind, settings=_settings(job))
    return "".join([_HEAD.format(**places), *sources, window])


def _settings(job: Job) -> str:
    key = 'key = ["payload.user_id"]'
    match job.kind:
        case "tumbling":
            return f'size = "{job.size}ms"\n{key}'
        case "sliding":
            return f'size = "{job.size}ms"\nslide = "{job.slide}ms"\n{key}'
        case "session":
            return f'gap = "{job.size}ms"\n{key}'
        case "join":
            return (
                f'left = "left"\nright = "right"\non = ["payload.user_id"]\nwithin = "{job.size}ms"'
            )


async def run(job: Job, places: dict[str, Any], wanted: int) -> None:
    path = Path(places["folder"]) / "streamd.toml"
    path.write_text(configuration(job, places))
    logs.configure(level="warning")
    daemon = Daemon(load(path), path.parent)
    async with anyio.create_task_group() as group:
        group.start_soon(daemon.run)
        while not daemon.supervisors:  # noqa: ASYNC110 - made once the store is open
            await anyio.sleep(0.01)
        supervisor = next(iter(daemon.supervisors.values()))
        await supervisor.running.wait()
        await _watch(supervisor, wanted)
        supervisor.stop()


async def _watch(supervisor: Any, wanted: int) -> None:
    """Wait for the last result, then half a second: there might be more than there should be."""
    meter = Meter()
    while not (read := supervisor.status().read):  # noqa: ASYNC110 - a count, no event
        await anyio.sleep(0.002)
    meter.start()
    meter.missed = read
    while meter.rows < wanted:
        await anyio.sleep(0.02)  # a look is a whole status report: often would be 5% of the figure
        meter.rows = supervisor.status().stages["out"].events or 0
    meter.stop()
    await anyio.sleep(0.5)
    meter.rows = supervisor.status().stages["out"].events
    meter.report()


if __name__ == "__main__":
    job, places = arguments()
    anyio.run(run, job, places, expected(job))
