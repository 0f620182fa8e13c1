"""Whatever ends a life, a stage is left only when nobody calls it any more, sources first."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from streamd.api import Batch, Duration, Fatal
from streamd.engine.pipeline import Pipeline
from streamd.settings.model import PipelineOptions
from streamd.testing.harness import pipeline, stage
from streamd.testing.memory import MemorySink, MemorySource
from tests.unit.engine.doubles import life_of, topic_of

IN_ORDER = ["write begins", "write ends", "source left", "sink left"]


class Calls(list[str]):
    """What happens, in order."""


class Careful(MemorySink):
    """Begins what it cannot leave half-way, and then waits for an answer."""

    def __init__(self, calls: Calls, answers_after: float) -> None:
        super().__init__([])
        self.calls = calls
        self.answers_after = answers_after

    async def __aexit__(self, *_exc: object) -> None:
        self.calls.append("sink left")

    async def write(self, batch: Batch) -> None:
        self.calls.append("write begins")
        try:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3)
            await anyio.sleep(self.answers_after)
        finally:
            self.calls.append("write ends")


def life(
    calls: Calls, state_dir: Path, *, answers_after: float = 100, source_fails_at: float = 1e9
) -> Pipeline:
    class Source(MemorySource):
        async def __aexit__(self, *_exc: object) -> None:
            calls.append("source left")

        async def poll(self, max_events: int, timeout: float) -> list[Batch]:
            if anyio.current_time() > source_fails_at:
                raise Fatal("it is over")
            return await super().poll(max_events, timeout)

    spec = pipeline(
        stage("source", "in", lambda context: Source(topic_of(3), context, endless=True)),
        stage("sink", "out", lambda _context: Careful(calls, answers_after)),
        options=PipelineOptions(drain_timeout=Duration("10s")),
    )
    return life_of(spec, state_dir)


async def stopped(life: Pipeline) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(2)
        life.stop()


async def cancelled(life: Pipeline) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await anyio.sleep(2)
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("end", "answers_after"),
    [(stopped, 0), (stopped, 100), (cancelled, 100)],
    ids=["drained", "not drained in time", "cancelled"],
)
async def test_a_stage_is_not_left_while_it_is_written_to(
    end: Callable[[Pipeline], Awaitable[None]], answers_after: float, tmp_path: Path
) -> None:
    calls = Calls()
    await end(life(calls, tmp_path, answers_after=answers_after))
    assert calls == IN_ORDER


async def test_a_life_that_fails_leaves_its_stages_in_the_same_order(tmp_path: Path) -> None:
    calls = Calls()
    with pytest.raises(ExceptionGroup) as caught:
        await life(calls, tmp_path, source_fails_at=1).run()
    assert caught.group_contains(Fatal)
    assert calls == IN_ORDER
