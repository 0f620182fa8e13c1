"""What a step with state holds when it has failed half-way is gone on with by nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from streamd.api import DEAD_LETTERS, Batch, BatchLimits, DeadLetter, StageContext
from streamd.engine.ledger import Cut
from streamd.engine.phase import ReloadRefusedError
from streamd.engine.replay import ReplayRefusedError, ReplayRequest
from streamd.engine.supervisor import Supervisor
from streamd.settings.model import PipelineOptions, PipelineSpec, StageSpec
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemorySource, MemoryStore
from tests.unit.engine.doubles import SlowSink, Verdicts, sink, topic_of
from tests.unit.engine.poison import Brittle, totals, windows_without

EVENTS, BAD = 100, 42
BURY = Verdicts({ValueError: DeadLetter()})


class Thread(MemoryStore):
    """What it has begun to store is stored, whoever is cancelled meanwhile."""

    async def save(self, pipeline: str, epoch: int, cut: Cut) -> None:
        with anyio.CancelScope(shield=True):
            await super().save(pipeline, epoch, cut)


class SlowAtFirst(SlowSink):
    """Takes two seconds for its first write."""

    def __init__(self) -> None:
        super().__init__([], 2)

    async def write(self, batch: Batch) -> None:
        await super().write(batch)
        self.seconds = 0


class Torn:
    """A pipeline whose window fails on one event, at once, and that takes two seconds to store
    what came before."""

    def __init__(self, tmp_path: Path) -> None:
        self.windows: list[Any] = []
        self.dead: list[Any] = []
        self.contexts: list[StageContext] = []
        self.spec = self.version(stage("source", "in", self._source))
        self.supervisor = Supervisor(self.spec, surroundings(Thread(), state_dir=tmp_path))

    def _source(self, context: StageContext) -> MemorySource:
        self.contexts.append(context)
        return MemorySource(topic_of(EVENTS), context)

    def version(self, *stages: StageSpec) -> PipelineSpec:
        return pipeline(
            *stages,
            stage("window", "w", lambda _context: Brittle({BAD})),
            stage("sink", "out", lambda _context: SlowAtFirst(), batch=BatchLimits(rows=EVENTS)),
            sink(self.windows, "windows", inputs=("w",)),
            sink(self.dead, "dlq", inputs=(DEAD_LETTERS,)),
            policies=[BURY],
            options=PipelineOptions(batch_events=10, epoch_events=10),
        )

    def is_exact(self) -> bool:
        exact = {name: {total} for name, total in windows_without({BAD}, EVENTS).items()}
        found = totals(self.windows)
        return {name: found.get(name) for name in exact} == exact


async def test_a_reload_does_not_take_it_over(tmp_path: Path) -> None:
    run = Torn(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(run.supervisor.run)
        await anyio.sleep(1)
        spec = run.version(*run.spec.sources)
        with pytest.raises(ReloadRefusedError):
            await run.supervisor.carry_out(await run.supervisor.prepare(spec), spec, "")
    assert run.is_exact()


async def test_a_rebalance_does_not_store_it(tmp_path: Path) -> None:
    run = Torn(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(run.supervisor.run)
        await anyio.sleep(1)
        control = run.contexts[0].control
        assert control is not None
        await control.revoking(["events:0"])
    assert run.is_exact()


async def test_who_waits_to_replay_is_told(tmp_path: Path) -> None:
    run = Torn(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(run.supervisor.run)
        await anyio.sleep(1)
        with anyio.fail_after(10), pytest.raises(ReplayRefusedError):
            await run.supervisor.replay(ReplayRequest(()))
    assert run.is_exact()
