"""`python -m benchmarks.windows [EVENTS]`: events per CPU second of each kind of window.

Events are JSON bytes in batches of 1000, decoded, put through the window and checkpointed every 50
batches: what a pipeline does, but for source, sink and disk. At the end all that is open is closed.
The second figure is the window alone. The clock of the events runs at 100,000 events per second of
event time.
"""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

import msgspec

from streamd.api import Batch, Duration, Span
from streamd.testing import FakeClock, stage_context
from streamd_windows import JoinStage, SessionStage, SlidingStage, TumblingStage

ROWS, EPOCH, PER_MS = 1000, 50, 100
START = 1_763_548_200_000


class Case(NamedTuple):
    """`streams`: batches belong to these in turn. `times`: how many times the usual events."""

    title: str
    cls: Any
    keys: int
    settings: dict[str, Any]
    streams: tuple[str, ...] = ("main",)
    times: int = 1


KEY = {"key": ("payload.user_id",)}
MANY = {
    "n": "count()",
    "sum": "sum(payload.data.amount)",
    "max": "max(payload.data.amount)",
    "users": "distinct(payload.user_id)",
    "top": "top_k(payload.user_id, 10)",
}
SOME = {"n": "count()", "sum": "sum(payload.data.amount)", "max": "max(payload.data.amount)"}
JOIN: dict[str, Any] = {"left": "l", "right": "r", "on": ("payload.user_id",)}
CASES = [
    Case("tumbling 60 s, count by 1K keys", TumblingStage, 1_000, {"size": Duration("60s"), **KEY}),
    Case(
        "tumbling 60 s, count by 1M keys",
        TumblingStage,
        1_000_000,
        {"size": Duration("60s"), **KEY},
        times=3,
    ),
    Case(
        "tumbling 60 s, three aggregates, 1K keys",
        TumblingStage,
        1_000,
        {"size": Duration("60s"), "aggregate": SOME, **KEY},
    ),
    Case(
        "tumbling 60 s, three aggregates, 1M keys",
        TumblingStage,
        1_000_000,
        {"size": Duration("60s"), "aggregate": SOME, **KEY},
        times=3,
    ),
    Case(
        "tumbling 1 s, five aggregates, global",
        TumblingStage,
        1_000,
        {"size": Duration("1s"), "aggregate": MANY},
    ),
    Case(
        "sliding 10 s by 1 s, count by 1K keys",
        SlidingStage,
        1_000,
        {"size": Duration("10s"), "slide": Duration("1s"), **KEY},
    ),
    Case("session 1 s, count by 1K keys", SessionStage, 1_000, {"gap": Duration("1s"), **KEY}),
    Case("session 1 s, count by 100K keys", SessionStage, 100_000, {"gap": Duration("1s"), **KEY}),
    Case(
        "join within 100 ms, 10K keys",
        JoinStage,
        10_000,
        {"within": Duration("100ms"), **JOIN},
        ("l", "r"),
    ),
]


def main(events: int = 2_000_000) -> None:
    for case in CASES:
        count = events * case.times
        whole, alone, rows, longest = _run(case, count)
        print(
            f"{case.title:<42} {count / whole:>9,.0f} events/CPU s"
            f"   window alone {count / alone:>9,.0f}"
            f"   {rows:>9,} rows   longest call {longest * 1000:.0f} ms",
            flush=True,
        )


def _run(case: Case, events: int) -> tuple[float, float, int, float]:
    """CPU seconds with and without decoding, rows, and the longest that one call has taken."""
    config = case.cls.Config(out_of_orderness=Duration("1s"), **case.settings)
    context = stage_context("window", clock=FakeClock(START + 10**7), inputs=case.streams)
    stage = case.cls(config, context)
    stage.assign(["events:0"], [])
    decode = msgspec.json.Decoder().decode
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    decoding = alone = longest = 0.0
    rows = 0
    for number, (first, raws) in enumerate(_raws(case, events)):
        started = time.process_time()
        values = [decode(raw) for raw in raws]
        decoded = time.process_time()
        batch = _batch(values, first, case.streams[number % len(case.streams)])
        results = [*stage.process(batch), *stage.tick(first / 100_000)]
        processed = time.process_time()
        if number % EPOCH == EPOCH - 1:
            stage.take_changes()
        stored = time.process_time()
        longest = max(longest, processed - decoded, stored - processed)
        rows += sum(len(result) for result in results)
        decoding += decoded - started
        alone += time.process_time() - decoded
    more = True
    while more:
        started = time.process_time()
        results = stage.tick(math.inf)
        rows += sum(len(result) for result in results)
        more = bool(results)
        longest = max(longest, time.process_time() - started)
        alone += time.process_time() - started
    return decoding + alone, alone, rows, longest


def _raws(case: Case, events: int) -> Iterator[tuple[int, list[bytes]]]:
    random = Random(1)
    for first in range(0, events, ROWS):
        yield first, [_event(n, random.randrange(case.keys)) for n in range(first, first + ROWS)]


def _event(number: int, user: int) -> bytes:
    return (
        b'{"id":"evt_%d","timestamp":"2025-11-19T10:30:00Z","payload":{"event_type":"user_action",'
        b'"source":"web_app","user_id":"user%d","session_id":"sess456","ip_address":"192.168.1.1",'
        b'"data":{"action":"click","element":"submit_button","page":"/checkout","amount":%d.25},'
        b'"tags":["frontend","conversion"],"version":"1.0"}}'
    ) % (number, user, number % 1000)


def _batch(values: list[Any], first: int, stream: str) -> Batch:
    return Batch(
        values,
        offsets=range(first, first + ROWS),
        timestamps=[START + number // PER_MS for number in range(first, first + ROWS)],
        spans=[Span("events:0", first, first + ROWS, ROWS)],
        stream=stream,
    )


if __name__ == "__main__":
    main(*(int(argument.replace("_", "")) for argument in sys.argv[1:2]))
