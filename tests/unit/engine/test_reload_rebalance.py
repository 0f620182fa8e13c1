"""Reloads while partitions move and processes die: nothing is lost, and state stays exact."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from streamd.engine.phase import ReloadRefusedError
from streamd.engine.pipeline import Pipeline
from streamd.settings.model import PipelineSpec
from streamd.testing.harness import reload, stage
from tests.unit.engine.group import Group, Member, SumWindow, WatchedStore
from tests.unit.engine.test_rebalance import World, any_way, in_order, inexact_windows, run_through


class Reloading(World):
    """Each move may come with a reload of some process, at the same time."""

    def __init__(self, seed: int, members: int, *, moves: Callable[[random.Random], str]) -> None:
        super().__init__(seed, members, moves=moves)
        self.running: list[Pipeline] = []
        self.reloading: list[Pipeline] = []
        self.taken = 0

    async def live(self) -> None:
        self.running, self.reloading = [], []
        await super().live()

    def _pipeline(self, store: WatchedStore, group: Group, members: list[Member]) -> Pipeline:
        self.running.append(super()._pipeline(store, group, members))
        return self.running[-1]

    async def _move(self, group: Group, members: list[Member], processes: Any) -> None:
        life = self.random.choice(self.running)
        if life not in self.reloading:
            self.reloading.append(life)
            processes.start_soon(self._reload, life)
        await super()._move(group, members, processes)

    async def _reload(self, life: Pipeline) -> None:
        try:
            await reload(life, self._changed(life.spec))
            self.taken += 1
        except ReloadRefusedError:
            assert life.stopping or life.state != "running"
        finally:
            self.reloading.remove(life)

    def _changed(self, spec: PipelineSpec) -> PipelineSpec:
        """Another window of the same meaning, or other sinks, or both; the source stays."""
        rows = {"out": (self.rows, ("main",)), "windows": (self.windows, ("w",))}
        again = [name for name in rows if self.random.random() < 0.5]
        steps = (stage("window", "w", SumWindow),) if self.random.random() < 0.5 else spec.steps
        sinks = [self._sink(s.id, *rows[s.id]) if s.id in again else s for s in spec.sinks]
        return msgspec.structs.replace(spec, steps=steps, sinks=tuple(sinks))


@pytest.mark.parametrize("seed", range(40))
def test_state_goes_over_in_a_reload_and_comes_back_with_its_partition(seed: int) -> None:
    world = Reloading(seed, 1, moves=in_order)
    run_through(world, seed)
    wrong = inexact_windows(world)
    assert not wrong, f"windows are not exact: {wrong}"
    assert world.taken


@pytest.mark.parametrize("seed", range(40))
def test_two_processes_that_reload_lose_nothing_however_partitions_move(seed: int) -> None:
    run_through(Reloading(seed, 2, moves=any_way), seed)
