"""One measurement in a process of its own: `python -m benchmarks.worker SIDE JOB EVENTS PLACES`."""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import msgspec

from benchmarks import floor
from benchmarks.jobs import Job, configuration
from streamd.engine.supervisor import Supervisor

Report = dict[str, Any]


async def _streamd(job: Job, events: int, places: dict[str, str], latency: bool) -> Report:
    from streamd.daemon import Daemon
    from streamd.settings.loader import load
    from streamd.telemetry import logs

    path = Path(places["state_dir"]) / f"{job}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(configuration(job, **places))
    settings = load(path)
    logs.configure(level="warning")
    daemon = Daemon(settings, path.parent)
    report: Report = {"delays": []}

    async def watch() -> None:
        supervisor = next(iter(daemon.supervisors.values()))
        await supervisor.running.wait()
        if latency:
            _record_delays(supervisor, report["delays"])
        cpu = wall = 0.0
        done = 0
        while done < events:
            await anyio.sleep(0.01)
            status = supervisor.status()
            done = status.stages["out"].events or 0
            if status.read and not wall:
                cpu, wall = time.process_time(), time.perf_counter()
        report["events"] = done
        report["cpu"] = time.process_time() - cpu
        report["wall"] = time.perf_counter() - wall
        supervisor.stop()

    async with anyio.create_task_group() as group:
        group.start_soon(daemon.run)
        while not daemon.supervisors:  # noqa: ASYNC110 - made once the store is open
            await anyio.sleep(0.01)
        group.start_soon(watch)
    return report


def _record_delays(supervisor: Supervisor, delays: list[int]) -> None:
    """Note how old each event was, in ms, when its write had returned."""
    parts = supervisor._life.parts
    assert parts is not None
    sink: Any = parts.wiring.slots["out"].sink
    write = sink.write

    async def timed(batch: Any) -> None:
        await write(batch)
        now = time.time_ns() // 1_000_000
        delays.extend(now - stamp for stamp in batch.timestamps)

    sink.write = timed


def main(side: str, job: Job, events: int, places: dict[str, str]) -> Report:
    use_uvloop = places.get("uvloop") == "true"
    options = {"use_uvloop": use_uvloop}
    if side == "floor":
        gc.freeze()
        return anyio.run(floor.run, job, events, places, backend_options=options)
    return anyio.run(_streamd, job, events, places, side == "latency", backend_options=options)


if __name__ == "__main__":
    side, job, events, places = sys.argv[1:5]
    result = main(side, job, int(events), msgspec.json.decode(places))  # type: ignore[arg-type]
    print(msgspec.json.encode(result).decode())
