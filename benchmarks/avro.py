"""What Avro costs and saves: the avro codec, bare fastavro and JSON side by side.

    python benchmarks/avro.py [--rounds N]

Microseconds of CPU time per event, the best of all rounds, in batches of 1,000 events; then the
bytes of an event, alone and as its share of a compressed batch.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cramjam
import fastavro
import msgspec

from benchmarks.validation import ROWS, sample
from streamd.testing import stage_context
from streamd_avro import AvroSerializer, get_schema_registry
from streamd_avro.codec import AvroCodec
from streamd_events.model import Event
from streamd_json.codec import JsonCodec


def measure(function: Callable[[], object], rounds: int) -> float:
    """Microseconds of CPU time per event."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(5):
            function()
        best = min(best, time.process_time() - start)
    return best / 5 / ROWS * 1e6


def plain_schema(schema: Any) -> Any:
    """The built-in schema as fastavro takes it: data as text, no conversions."""
    text = json.dumps(schema)
    for logical in ("timestamp-millis", "ipv4", "json"):
        text = text.replace(f', "logicalType": "{logical}"', "")
    return fastavro.parse_schema(json.loads(text))


def fast_write(schema: Any, events: list[Any]) -> list[bytes]:
    records = []
    for event in events:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, event)
        records.append(out.getvalue())
    return records


def fast_read(schema: Any, raws: list[bytes], reader: Any = None) -> list[Any]:
    return [fastavro.schemaless_reader(io.BytesIO(raw), schema, reader) for raw in raws]


def jobs(state_dir: Path) -> dict[str, Callable[[], object]]:
    registry = get_schema_registry(state_dir / "schemas.sqlite")
    events = [sample(number) for number in range(ROWS)]
    mixed = [{**e, "payload": e["payload"] | {"data": {"n": 1, "ok": True}}} for e in events]
    structs = [msgspec.convert(event, Event) for event in events]
    codec, single, resolving = (
        AvroCodec(AvroCodec.Config(**config), stage_context("source", state_dir=state_dir))
        for config in ({}, {"format": "single_object"}, {"reader_version": 1})
    )
    serializer = AvroSerializer(registry)
    one, two = (plain_schema(registry.get_schema("IngestEvent", version)) for version in (1, 2))
    raws, framed, of_mixed = codec.encode(events), single.encode(events), codec.encode(mixed)
    of_fast = fast_write(two, events)
    json_codec = JsonCodec(JsonCodec.Config(), stage_context("codec"))
    texts = json_codec.encode(events)
    return {
        "json codec, encode": lambda: json_codec.encode(events),
        "fastavro, write (lax)": lambda: fast_write(two, events),
        "avro codec, encode": lambda: codec.encode(events),
        "avro codec, encode Structs": lambda: codec.encode(structs),
        "avro codec, encode, data not text": lambda: codec.encode(mixed),
        "AvroSerializer.serialize": lambda: [
            serializer.serialize(event, "IngestEvent", 2) for event in events
        ],
        "json codec, decode": lambda: json_codec.decode(texts),
        "fastavro, read (lax)": lambda: fast_read(two, of_fast),
        "avro codec, decode": lambda: codec.decode(raws),
        "avro codec, decode single object": lambda: single.decode(framed),
        "avro codec, decode, data not text": lambda: codec.decode(of_mixed),
        "AvroSerializer.deserialize": lambda: [
            serializer.deserialize(raw, "IngestEvent", 2) for raw in raws
        ],
        "fastavro, read v2 as v1": lambda: fast_read(two, of_fast, one),
        "avro codec, decode v2 as v1": lambda: resolving.decode(raws),
    }


def sizes(state_dir: Path) -> dict[str, list[bytes]]:
    events = [sample(number) for number in range(ROWS)]
    codec = AvroCodec(AvroCodec.Config(), stage_context("source", state_dir=state_dir))
    return {
        "JSON": [msgspec.json.encode(event) for event in events],
        "JSON with spaces": [json.dumps(event).encode() for event in events],
        "Avro": codec.encode(events),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        gc.freeze()
        for name, job in jobs(Path(folder)).items():
            cost = measure(job, rounds)
            print(f"{name:36} {cost:7.3f} us   {1e6 / cost:10,.0f} events per CPU second")
        print(f"\n{'bytes per event':36} {'alone':>8} {'zstd':>8} {'lz4':>8}")
        for name, records in sizes(Path(folder)).items():
            batch = b"".join(records)
            alone, zstd, lz4 = (
                len(one) / ROWS
                for one in (batch, cramjam.zstd.compress(batch), cramjam.lz4.compress(batch))
            )
            print(f"{name:36} {alone:8.1f} {zstd:8.1f} {lz4:8.1f}")


if __name__ == "__main__":
    main()
