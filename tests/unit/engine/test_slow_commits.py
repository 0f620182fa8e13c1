"""A source that is slow to commit, or cannot, is told of and holds up nobody else."""

from collections.abc import Mapping
from pathlib import Path

import anyio

from streamd.api import BatchLimits, Misconfigured, Retryable
from streamd.engine.status import status_of
from streamd.settings.model import PipelineOptions
from streamd.testing.harness import pipeline, stage
from streamd.testing.memory import MemorySource
from tests.unit.engine.doubles import Made, Requests, SlowSink, running, sink, topic_of


async def test_clients_of_another_source_do_not_wait_for_a_slow_commit(tmp_path: Path) -> None:
    class TimesOut(MemorySource):
        async def commit(self, positions: Mapping[str, int], tag: str) -> None:
            await anyio.sleep(30)
            raise Retryable("request timed out")

    topic = topic_of(10)
    made = Made(Requests)
    spec = pipeline(
        stage("source", "slow", lambda context: TimesOut(topic, context, endless=True)),
        stage("source", "http", made),
        sink([]),
    )
    async with running(spec, tmp_path):
        await anyio.sleep(5)
        for number in range(3):
            made.last.ask(number)
            await anyio.sleep(1)
        await anyio.sleep(100)
    assert len(made.last.answers) == 3
    assert max(seconds for seconds, _ in made.last.answers.values()) < 1


async def test_a_commit_that_fails_is_tried_again_about_once_a_second(tmp_path: Path) -> None:
    tries: list[float] = []

    class Fails(MemorySource):
        async def commit(self, positions: Mapping[str, int], tag: str) -> None:
            tries.append(anyio.current_time())
            raise Retryable("no")

    topic = topic_of(5000)
    slow = stage("sink", "out", lambda _context: SlowSink([], 0.01), batch=BatchLimits(rows=1))
    spec = pipeline(
        stage("source", "in", lambda context: Fails(topic, context, endless=True)),
        slow,
        options=PipelineOptions(batch_events=1, epoch_events=100),
    )
    async with running(spec, tmp_path):
        await anyio.sleep(20)
    assert 15 <= len(tries) <= 20, "not with each write that makes progress"


async def test_commits_that_never_succeed_are_a_problem_of_their_source(tmp_path: Path) -> None:
    class MayNot(MemorySource):
        async def commit(self, positions: Mapping[str, int], tag: str) -> None:
            raise Misconfigured("not allowed to commit to the group")

    topic = topic_of(10)
    may_not = stage("source", "in", lambda context: MayNot(topic, context, endless=True))
    async with running(pipeline(may_not, sink([])), tmp_path) as life:
        await anyio.sleep(200)
        status = status_of(life, 0)
    assert not status.ready
    assert "not allowed to commit" in (status.stages["in"].problem or "")
