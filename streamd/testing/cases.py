"""Golden cases: a configuration, what goes in, what has to come out.

A case is a folder with `streamd.toml`, the files that its source reads, and one `expected.jsonl`
for the sink `out`, or `expected.<sink>.jsonl` for others. The pipeline runs as configured, but
its sinks are in memory, as are its checkpoints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from streamd.api import BatchLimits
from streamd.engine.pipeline import Pipeline
from streamd.engine.stages import Surroundings
from streamd.settings.loader import load
from streamd.settings.model import Settings, StageSpec
from streamd.telemetry.metrics import Telemetry
from streamd.testing.contexts import FakeClock
from streamd.testing.memory import MemorySink, MemoryStore


async def run_case(folder: Path, state_dir: Path) -> dict[str, list[Any]]:
    """Run the only pipeline of the case to its end; what each sink got, as plain JSON values.

    Paths in the configuration are relative to the working directory: change it to the folder.
    """
    settings = load(folder / "streamd.toml")
    return await run_pipeline(settings, state_dir)


async def run_pipeline(settings: Settings, state_dir: Path) -> dict[str, list[Any]]:
    """Run a configuration's only pipeline with its sinks in memory, until its sources end."""
    (spec,) = settings.pipelines
    written: dict[str, list[Any]] = {sink.id: [] for sink in spec.sinks}
    catalog = settings.catalog
    around = Surroundings(
        MemoryStore(),
        Telemetry(),
        FakeClock(),
        state_dir,
        settings.digest,
        {role: catalog.extensions(role) for role in catalog.roles()},
    )
    in_memory = tuple(_in_memory(sink, written[sink.id]) for sink in spec.sinks)
    await Pipeline(msgspec.structs.replace(spec, sinks=in_memory), around).run()
    return {name: msgspec.json.decode(msgspec.json.encode(rows)) for name, rows in written.items()}


def expected_of(folder: Path) -> dict[str, list[Any]]:
    """What the case's files say, by sink."""
    found = {}
    for path in sorted(folder.glob("expected*.jsonl")):
        sink = path.name.removeprefix("expected").removesuffix(".jsonl").lstrip(".") or "out"
        found[sink] = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    return found


def _in_memory(sink: StageSpec, rows: list[Any]) -> StageSpec:
    def make(_config: Any, _context: Any) -> MemorySink:
        return MemorySink(rows)

    return msgspec.structs.replace(sink, cls=make, batch=BatchLimits())
