"""`python -m benchmarks.peers [JOB ...]`: windows in streamd, Bytewax and Quix Streams.

All three read the same topic, with keys, values and timestamps of its records; all decode JSON with
msgspec, give the same results (their number is checked) and drop them. Each run is a process of
its own; events per second of its CPU, all threads included, from the first event to the last
result. The column `memory` is Bytewax without Kafka, its events made beforehand: what its window
costs by itself, beside a streamd that also reads Kafka.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import anyio
import msgspec

from benchmarks.peers.environment import interpreter
from benchmarks.peers.feed import feed
from benchmarks.peers.jobs import JOBS, Job, expected, sides
from tests.services.clients import create_topic
from tests.services.kafka import KafkaServer

ROOT = Path(__file__).resolve().parents[2]
SIDES = {
    "streamd": "streamd_side",
    "Bytewax": "bytewax_side",
    "memory": "bytewax_side",
    "Quix": "quix_side",
}
# Bytewax joins within fixed windows; pairs on either side of a border would be missing.
CANNOT = {("Bytewax", "join"), ("memory", "join")}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual events")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one run")
    options = parser.parse_args()
    if unknown := set(options.jobs) - JOBS.keys():
        parser.error(f"no such job: {', '.join(sorted(unknown))}")
    interpreter()
    with (
        tempfile.TemporaryDirectory() as folder,
        KafkaServer(Path(folder) / "kafka", heap="1g") as kafka,
    ):
        print(
            f"thousands of events per CPU second, medians of {options.rounds}; x: streamd's ratio"
        )
        print(f"{'':<40}" + "".join(f"{side:>18}" for side in SIDES))
        for name in options.jobs or JOBS:
            job = JOBS[name]
            job = job._replace(events=int(job.events * options.scale))
            _compare(name, job, kafka, options.rounds, options.timeout)


def _compare(name: str, job: Job, kafka: KafkaServer, rounds: int, timeout: float) -> None:
    topics = [anyio.run(create_topic, kafka, 1) for _ in range(sides(job))]
    anyio.run(feed, job, kafka.bootstrap_servers, topics)
    places = {
        "brokers": kafka.bootstrap_servers,
        "topics": topics,
        "job": name,
        "events": job.events,
    }
    able = [side for side in SIDES if (side, job.kind) not in CANNOT]
    rates: dict[str, list[float]] = {side: [] for side in (["streamd"] if job.alone else able)}
    wanted, slow = expected(job), set[str]()
    for _ in range(rounds):
        for side in [side for side in rates if side not in slow]:
            report = _run(side, places, timeout)
            if report is None:
                slow.add(side)
                continue
            if report["rows"] != wanted:
                raise SystemExit(f"{side}, {job.title}: {report['rows']} results, not {wanted}")
            rates[side].append((job.events - report["missed"]) / report["cpu"])
    for side in slow:
        del rates[side]
    print(
        f"{job.title:<40}" + _cells(rates, dict.fromkeys(slow, f"over {timeout:.0f} s")),
        flush=True,
    )


def _cells(rates: dict[str, list[float]], slow: dict[str, str]) -> str:
    medians = {side: statistics.median(found) for side, found in rates.items()}
    cells = []
    for side in SIDES:
        if side not in medians:
            cells.append(slow.get(side, "-"))
        elif side == "streamd" or "streamd" not in medians:
            cells.append(f"{medians[side] / 1000:.1f}")
        else:
            ratio = medians["streamd"] / medians[side]
            cells.append(f"{medians[side] / 1000:.1f} (x {ratio:.1f})")
    return "".join(f"{cell:>18}" for cell in cells)


def _run(side: str, places: dict[str, Any], timeout: float) -> dict[str, Any] | None:
    """What a side reports; None when it was not done in time."""
    python = sys.executable if side == "streamd" else interpreter()
    with tempfile.TemporaryDirectory() as folder:
        own = {"folder": folder, "group": f"g{uuid.uuid4().hex[:8]}", "memory": side == "memory"}
        command = [
            *(python, "-m", f"benchmarks.peers.{SIDES[side]}"),
            msgspec.json.encode(places | own).decode(),
        ]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr}")
    report: dict[str, Any] = msgspec.json.decode(done.stdout.splitlines()[-1])
    return report


if __name__ == "__main__":
    main()
