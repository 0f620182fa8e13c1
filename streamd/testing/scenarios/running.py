"""Run one test: the real pipeline between sources and sinks in memory, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import msgspec

from streamd.engine.pipeline import Pipeline
from streamd.engine.spill import Spill
from streamd.engine.stages import Surroundings
from streamd.engine.status import status_of
from streamd.settings.construct import extensions_of
from streamd.telemetry.metrics import Telemetry
from streamd.testing.memory import MemoryStore
from streamd.testing.scenarios.cast import Cast
from streamd.testing.scenarios.script import Place, Rows, Script
from streamd.testing.virtual_time import LoopClock, VirtualTimeLoop

PATIENCE = 600.0
"""Seconds on the test's clock, after the last arrival, for everything to be delivered."""

_LOOK_EVERY = 0.25
_AFTER = 0.001  # what happens at a moment happens before the test ends at it


@dataclass
class Observed:
    """What came of a test: rows by place, dead letters, why the pipeline failed.

    `refused` are dead letters that a sink of dead letters would not take: they went to a file.
    `stuck` tells what was still in flight when patience ended.
    """

    rows: dict[Place, Rows] = field(default_factory=dict)
    dead_letters: Rows = field(default_factory=list)
    refused: list[Any] = field(default_factory=list)
    failure: str | None = None
    stuck: str | None = None


def run(script: Script) -> Observed:
    """Run a test to its end. Must not be called from within an event loop."""
    with TemporaryDirectory(prefix="streamd-test-") as folder:
        return anyio.run(
            _run, script, Path(folder), backend_options={"loop_factory": VirtualTimeLoop}
        )


async def _run(script: Script, state_dir: Path) -> Observed:
    cast, settings = Cast(script), script.settings
    around = Surroundings(
        MemoryStore(),
        Telemetry(),
        LoopClock(script.start_ms),
        state_dir,
        settings.digest,
        extensions_of(settings.catalog),
    )
    pipeline = Pipeline(cast.pipeline, around)
    observed = Observed(cast.rows, cast.dead_letters)
    async with anyio.create_task_group() as group:
        group.start_soon(_conduct, script, cast, pipeline, observed)
        try:
            await pipeline.run()
        except Exception as error:
            observed.failure = "; ".join(dict.fromkeys(_reasons(error)))
        group.cancel_scope.cancel()
    if (spilled := Spill(state_dir, script.pipeline.name).path).exists():
        observed.refused = [msgspec.json.decode(one) for one in spilled.read_bytes().splitlines()]
    return observed


async def _conduct(script: Script, cast: Cast, pipeline: Pipeline, observed: Observed) -> None:
    """Tell the pipeline to stop when it is time to."""
    scenario = script.scenario
    if scenario.until is not None:
        await anyio.sleep(scenario.until + _AFTER)
    else:
        deadline = script.last_arrival + PATIENCE
        # Sources that come to their end end the pipeline by themselves.
        while scenario.end or not _delivered(cast, pipeline):
            await anyio.sleep(_LOOK_EVERY)
            if anyio.current_time() > deadline:
                observed.stuck = _problems_of(pipeline)
                break
    pipeline.stop()


def _delivered(cast: Cast, pipeline: Pipeline) -> bool:
    parts = pipeline.parts
    return parts is not None and cast.all_given and parts.ledger.idle


def _problems_of(pipeline: Pipeline) -> str:
    stages = status_of(pipeline, 0).stages.items()
    reasons = [f"{name}: {stage.problem}" for name, stage in stages if stage.problem]
    return "; ".join(reasons) or "no stage says why"


def _reasons(error: BaseException) -> Iterator[str]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _reasons(inner)
    else:
        yield str(error) or repr(error)
