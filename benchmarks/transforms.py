"""`python -m benchmarks.transforms`: CPU microseconds per event of each transform.

Batches of 1000 events of the usual shape; the best of several rounds, since other programs on the
machine can only make a round slower.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from streamd.api import Batch, Duration
from streamd.testing import batch_of, sample_event, stage_context
from streamd_events.model import Event
from streamd_transforms import Dedupe, Explode, Filter, Map, Split

ROWS, BATCHES, ROUNDS = 1000, 20, 7


def main() -> None:
    print(f"us of CPU per event, batches of {ROWS}, best of {ROUNDS} rounds")
    for title, cls, settings, make in CASES:
        config = cls.Config(**settings)
        best = min(_round(cls(config, stage_context()), make) for _ in range(ROUNDS))
        print(f"  {title:<58} {best:6.3f}")


def _round(step: Any, make: Callable[[int], Any]) -> float:
    batches = [_batch(make, first) for first in range(0, ROWS * BATCHES, ROWS)]
    if isinstance(step, Dedupe):
        step.assign(["events:0"], [])
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    started = time.process_time()
    for batch in batches:
        _exhaust(step.process(batch))
        if isinstance(step, Dedupe):
            step.take_changes()
    return (time.process_time() - started) / (ROWS * BATCHES) * 1e6


def _batch(make: Callable[[int], Any], first: int) -> Batch:
    return batch_of([make(number) for number in range(first, first + ROWS)], first=first)


def _exhaust(results: Iterable[Any]) -> None:
    for _ in results:
        pass


def _struct(number: int) -> Event:
    return msgspec.convert(sample_event(number), Event)


def _items(number: int) -> dict[str, Any]:
    event = sample_event(number)
    event["payload"]["items"] = [{"sku": f"s{item}", "price": item} for item in range(10)]
    return event


def _twice(number: int) -> dict[str, Any]:
    return sample_event(number // 2)


_CONDITION = 'payload.data.number % 2 == 0 && payload.source == "web_app"'
_ROUTES = {
    "third": "payload.data.number % 3 == 0",
    "other": 'payload.user_id == "user1"',
}
_CHANGES = {
    "rename": {"payload.user_id": "payload.user"},
    "convert": {"payload.version": "float"},
    "set": {"payload.data.double": "payload.data.number * 2", "kind": "payload.event_type"},
    "remove": ("payload.tags",),
}
CASES: list[tuple[str, Any, dict[str, Any], Callable[[int], Any]]] = [
    ("filter, all pass", Filter, {"condition": 'payload.source == "web_app"'}, sample_event),
    ("filter, half pass", Filter, {"condition": _CONDITION}, sample_event),
    ("filter, half pass, Structs", Filter, {"condition": _CONDITION}, _struct),
    ("map, one set", Map, {"set": {"kind": "payload.event_type"}}, sample_event),
    ("map, rename, convert, two sets, remove", Map, _CHANGES, sample_event),
    ("map, the same, Structs", Map, _CHANGES, _struct),
    ("map, nothing to convert", Map, {"convert": {"payload.data.number": "int"}}, sample_event),
    ("split, two routes and the rest", Split, {"routes": _ROUTES}, sample_event),
    ("explode, 10 items, per event", Explode, {"path": "payload.items"}, _items),
    ("dedupe, all new, with changes", Dedupe, {}, sample_event),
    ("dedupe, half duplicates", Dedupe, {}, _twice),
    ("dedupe, all new, keys expire", Dedupe, {"ttl": Duration("1m")}, sample_event),
    ("dedupe, all new, two paths", Dedupe, {"key": ("id", "payload.source")}, sample_event),
]


if __name__ == "__main__":
    main()
