"""`python -m benchmarks [EVENTS]`: every job, floor and streamd in turn, as ratios."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec

from benchmarks.events import event
from benchmarks.jobs import JOBS, TITLES, Job, configuration
from tests.services.clickhouse import ClickHouseServer
from tests.services.clients import create_topic
from tests.services.kafka import KafkaServer

EVENTS, ROUNDS, PARTITIONS = 1_000_000, 3, 4


def main(events: int = EVENTS) -> None:
    with _servers() as (kafka, places):
        places["topic"] = _topic(kafka)
        _feed(places, places["topic"], "0", "0", str(events)).wait()
        print(f"{events} events of {len(event(1))} bytes, {ROUNDS} rounds, medians")
        rates: dict[Job, float] = {}
        for job in JOBS:
            rates[job] = _compare(job, events, places)
        _latency(kafka, places, rates["clickhouse"])
        _idle(kafka, places)


def _compare(job: Job, events: int, places: dict[str, str]) -> float:
    """Print the line of one job; streamd's events per wall second."""
    runs: dict[str, list[dict[str, Any]]] = {"floor": [], "streamd": []}
    for _ in range(ROUNDS):
        for side, reports in runs.items():
            reports.append(_worker(side, job, events, places))
    print(f"\n{TITLES[job]}")
    for unit in ("cpu", "wall"):
        rate: dict[str, float] = {
            side: statistics.median(r["events"] / r[unit] for r in reports)
            for side, reports in runs.items()
        }
        ratio = rate["streamd"] / rate["floor"]
        print(
            f"  per {unit:4} second: floor {rate['floor']:>9,.0f}"
            f"   streamd {rate['streamd']:>9,.0f}   ratio {ratio:.2f}"
        )
    return rate["streamd"]


def _worker(side: str, job: Job, events: int, places: dict[str, str]) -> dict[str, Any]:
    own = {
        "group": f"g{uuid.uuid4().hex[:8]}",
        "table": f"t{uuid.uuid4().hex[:8]}",
        "state_dir": tempfile.mkdtemp(dir=places["folder"]),
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.worker", side, job, str(events)),
            msgspec.json.encode(places | own).decode(),
        ],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    report: dict[str, Any] = msgspec.json.decode(done.stdout.splitlines()[-1])
    return report


def _latency(kafka: KafkaServer, places: dict[str, str], rate: float) -> None:
    """Events at half the rate that was reached; their age when ClickHouse had them."""
    seconds, half = 15, int(rate / 2)
    topic = _topic(kafka)
    feeder = _feed(places, topic, str(half), str(seconds))
    try:
        report = _worker("latency", "clickhouse", half * (seconds - 2), places | {"topic": topic})
        feeder.wait()
    finally:
        feeder.terminate()  # it would try for ever once the broker is gone
    delays = sorted(report["delays"])
    p50, p99 = (delays[int(len(delays) * q)] for q in (0.5, 0.99))
    print(f"\nHalf load ({rate / 2:,.0f} per second) to ClickHouse: p50 {p50} ms, p99 {p99} ms")


def _idle(kafka: KafkaServer, places: dict[str, str]) -> None:
    """Seconds until the pipelines run, and resident memory when nothing happens."""
    config = Path(places["folder"]) / "idle.toml"
    places = places | {"topic": _topic(kafka), "group": "idle", "state_dir": places["folder"]}
    text = configuration("validate", **places)
    config.write_text(text.replace('"warning"', '"info"\nlog_format = "json"'))
    started = time.perf_counter()
    daemon = subprocess.Popen(
        [Path(sys.executable).parent / "streamd", "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert daemon.stderr is not None
    for line in daemon.stderr:
        if "Pipeline running" in line:
            break
    ready = time.perf_counter() - started
    time.sleep(5)
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
    daemon.terminate()
    daemon.wait()
    print(f"\nStart to running: {ready:.2f} s; resident when idle: {resident:.0f} MiB")


@contextmanager
def _servers() -> Iterator[tuple[KafkaServer, dict[str, str]]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kafka = stack.enter_context(KafkaServer(folder / "kafka", heap="1g"))
        clickhouse = stack.enter_context(ClickHouseServer(folder / "clickhouse"))
        yield (
            kafka,
            {
                "bootstrap": kafka.bootstrap_servers,
                "clickhouse": clickhouse.url,
                "folder": str(folder),
                "uvloop": "false",
            },
        )


def _topic(kafka: KafkaServer) -> str:
    return anyio.run(create_topic, kafka, PARTITIONS)


def _feed(places: dict[str, str], topic: str, *how: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.feed", places["bootstrap"], topic, *how]
    )


if __name__ == "__main__":
    main(*(int(argument.replace("_", "")) for argument in sys.argv[1:2]))
