"""The job as a Bytewax dataflow, from Kafka or (`memory`) from a list.

One worker, and no recovery store: it keeps less than the others.
Bytewax keeps a clock per key and closes what is left at the end of its input. Its clock also runs
by wall time, which is stopped here: a slow machine would make events late.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import TestingSource, cluster_main
from msgspec import json

from benchmarks.peers.jobs import START, Job, records
from benchmarks.peers.measure import Meter, arguments

_NOW = datetime.fromtimestamp(START / 1000, UTC)


class _Drop(StatelessSinkPartition[Any]):  # type: ignore[misc]
    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def write_batch(self, items: list[Any]) -> None:
        self._meter.rows += sum(key != "end" for key, _ in items)


class _DropSink(DynamicSink[Any]):  # type: ignore[misc]
    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def build(self, *_: Any) -> _Drop:
        return _Drop(self._meter)


def flow(job: Job, places: dict[str, Any], meter: Meter) -> Dataflow:
    decode = json.Decoder().decode

    def timed(message: Any) -> tuple[str, tuple[datetime, Any]]:
        meter.start()
        value = decode(message.value)
        at = datetime.fromtimestamp(message.timestamp[1] / 1000, UTC)
        return value["payload"]["user_id"], (at, value)

    dataflow = Dataflow("bench")
    keyed = op.map("decode", op.input("in", dataflow, _source(job, places)), timed)
    clock = win.EventClock(
        lambda item: item[0],
        timedelta(0),
        now_getter=lambda: _NOW,
        to_system_utc=lambda _: None,  # else every key is woken all the time: its windows are old
    )
    # fold_window and not count_window, which wants a key made of the item anew.
    counted = win.fold_window(
        "window", keyed, clock, _windower(job), int, lambda n, _: n + 1, lambda a, b: a + b
    )
    op.output("out", counted.down, _DropSink(meter))
    return dataflow


def _source(job: Job, places: dict[str, Any]) -> Any:
    if not places.get("memory"):
        return KafkaSource([places["brokers"]], places["topics"], tail=False)
    messages = [
        KafkaSourceMessage(record.key, record.value, timestamp=(1, record.timestamp))
        for record in records(job)
    ]
    return TestingSource(messages, batch_size=1000)


def _windower(job: Job) -> Any:
    align = datetime.fromtimestamp(0, UTC)
    size = timedelta(milliseconds=job.size)
    match job.kind:
        case "tumbling":
            return win.TumblingWindower(size, align)
        case "sliding":
            return win.SlidingWindower(size, timedelta(milliseconds=job.slide), align)
        case "session":
            return win.SessionWindower(size)
    raise ValueError(job.kind)


if __name__ == "__main__":
    job, places = arguments()
    meter = Meter()
    cluster_main(flow(job, places, meter), [], 0)
    meter.stop()
    meter.report()
