"""What decoding and validating costs: bare msgspec and the event validator side by side.

    python benchmarks/validation.py [--rounds N]

Microseconds of CPU time per event, the best of all rounds, in batches of 1,000 events of 298
bytes. `rejected` has one bad event in ten; `all bad` fails every one and lists the violations.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from streamd.api import Batch
from streamd.testing import stage_context
from streamd_events.event_validator import EventValidator
from streamd_events.json_schema_validator import JsonSchemaValidator
from streamd_events.model import Event
from streamd_events.quality_stage import QualityValidator
from streamd_json.codec import JsonCodec

ROWS = 1000


def sample(number: int) -> dict[str, Any]:
    return {
        "id": f"evt_{number:06}",
        "timestamp": f"2025-11-19T10:{number // 60 % 60:02}:{number % 60:02}Z",
        "payload": {
            "event_type": "user_action",
            "source": "web_app",
            "user_id": f"user{number % 5000}",
            "session_id": f"sess{number % 9000}",
            "ip_address": f"192.168.{number % 7}.{number % 250}",
            "data": {"action": "click", "element": "submit_button", "page": "/checkout"},
            "tags": ["frontend", "conversion"],
            "version": "1.0",
        },
    }


def undecoded(raws: Sequence[bytes]) -> Batch:
    return Batch.of_raws(raws, partition="bench:0", offsets=range(ROWS), timestamps=[0] * ROWS)


def measure(function: Callable[[], object], rounds: int) -> float:
    """Microseconds of CPU time per event."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(20):
            function()
        best = min(best, time.process_time() - start)
    return best / 20 / ROWS * 1e6


def jobs() -> dict[str, Callable[[], object]]:
    events = [sample(number) for number in range(ROWS)]
    raws = [msgspec.json.encode(event) for event in events]
    spaced = [json.dumps(event).encode() for event in events]
    extras = [msgspec.json.encode({**event, "trace": "t"}) for event in events]
    escaped = [raw.replace(b"/checkout", b"\\/checkout") for raw in raws]
    bad = [raw.replace(b'"web_app"', b'""') for raw in raws]
    one_in_ten = [bad[row] if row % 10 == 0 else raw for row, raw in enumerate(raws)]
    codec = JsonCodec(JsonCodec.Config(), stage_context("codec"))
    context = stage_context("validate")
    stage = EventValidator(EventValidator.Config(), context)
    fused = stage.typed(codec)
    assert fused is not None
    to_dict = msgspec.json.Decoder().decode
    to_event = msgspec.json.Decoder(Event).decode
    schema = JsonSchemaValidator(JsonSchemaValidator.Config(schema=SCHEMA), context)
    quality = QualityValidator(QualityValidator.Config(), context)
    decoded = undecoded(raws).replace(events)

    def through(batch_raws: Sequence[bytes]) -> Callable[[], object]:
        return lambda: list(fused.process(undecoded(batch_raws)))  # type: ignore[arg-type]

    return {
        "msgspec, to dicts": lambda: [to_dict(raw) for raw in raws],
        "msgspec, to Structs, types only": lambda: [to_event(raw) for raw in raws],
        "json codec, to dicts": lambda: codec.decode(raws),
        "json codec, encode": lambda: codec.encode(events),
        "event, decode and validate": through(raws),
        "event, json.dumps spacing": through(spaced),
        "event, escapes in strings": through(escaped),
        "event, unknown fields": through(extras),
        "event, rejected": through(one_in_ten),
        "event, all bad": through(bad),
        "event, decoded already": lambda: list(stage.process(decoded)),
        "json_schema, decoded already": lambda: list(schema.process(decoded)),
        "quality, decoded already": lambda: list(quality.process(decoded)),
    }


SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id", "timestamp", "payload"],
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "timestamp": {"type": "string", "format": "date-time"},
        "payload": {
            "type": "object",
            "required": ["event_type", "source"],
            "properties": {
                "event_type": {
                    "enum": ["user_action", "system_event", "api_call", "error", "metric"]
                },
                "source": {"type": "string", "minLength": 1, "maxLength": 100},
                "user_id": {"type": "string", "maxLength": 50},
                "ip_address": {"type": "string", "format": "ipv4"},
                "data": {"type": "object"},
                "tags": {"type": "array", "maxItems": 10, "items": {"pattern": "^[A-Za-z0-9]+$"}},
                "version": {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+){1,2}$"},
            },
        },
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    gc.freeze()
    for name, job in jobs().items():
        cost = measure(job, rounds)
        print(f"{name:34} {cost:7.3f} us   {1e6 / cost:10,.0f} events per CPU second")


if __name__ == "__main__":
    main()
