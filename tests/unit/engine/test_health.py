"""Whether a stage gets on, as /readyz and the alerts have it."""

from pathlib import Path
from typing import Any

import anyio

from streamd.api import (
    DEAD_LETTERS,
    Batch,
    BatchLimits,
    DeadLetter,
    Failure,
    Permanent,
    Reject,
    Rejected,
    Retry,
    Retryable,
    Verdict,
)
from streamd.engine.pipeline import Pipeline
from streamd.engine.status import status_of
from streamd.testing.harness import pipeline
from tests.unit.engine.doubles import feed, life_of, sink, source, topic_of

RETRIES_LAST = 14


class RetryThenBury:
    """Seven more attempts within 14 seconds."""

    def decide(self, failure: Failure) -> Verdict | None:
        if isinstance(failure.error, Retryable) and failure.attempt < 8:
            return Retry(RETRIES_LAST / 7)
        return DeadLetter()


class Server:
    """A sink's other side, which raises `error` while it has one."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def __call__(self, _batch: Batch) -> None:
        if self.error is not None:
            raise self.error


async def healthy(life: Pipeline, seconds: int) -> list[tuple[bool, bool]]:
    """Every second: is the pipeline ready, does its sink get on?"""
    seen = []
    for _ in range(seconds):
        await anyio.sleep(1)
        status = status_of(life, 0)
        seen.append((status.ready, status.stages["out"].problem is None))
    return seen


class Life:
    """A pipeline to whose topic more events come every second, until `ends`."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.topic, self.rows, self.dead = topic_of(1), list[Any](), list[Any]()
        limits = BatchLimits(rows=100)
        self.life = life_of(
            pipeline(
                source(self.topic, endless=True),
                sink(self.rows, fail=server, batch=limits),
                sink(self.dead, "dlq", inputs=(DEAD_LETTERS,)),
                policies=[RetryThenBury()],
            ),
            folder,
        )

    async def fed(self, seconds: int) -> None:
        for _ in range(seconds):
            feed(self.topic, 1)
            await anyio.sleep(1)


async def test_an_outage_is_one_even_where_each_batch_is_given_up(tmp_path: Path) -> None:
    """Dead-lettering a batch makes no server answer: /readyz must not say so in between."""
    server = Server(Retryable("away"))
    one = Life(server, tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(one.life.run)
        group.start_soon(one.fed, 100)
        await anyio.sleep(RETRIES_LAST)
        assert {(False, False)} == set(await healthy(one.life, 60))
        assert one.dead
        server.error = None
        await anyio.sleep(RETRIES_LAST)
        assert {(True, True)} == set(await healthy(one.life, 5))
        one.life.stop()


async def test_what_was_given_up_is_forgotten_if_nothing_comes(tmp_path: Path) -> None:
    """Or a balancer that sends only to what is ready would never send again."""
    one = Life(Server(Retryable("away")), tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(one.life.run)
        await anyio.sleep(RETRIES_LAST + 1)
        seen = await healthy(one.life, 60)
        assert seen[0] == (False, False)
        assert seen[-1] == (True, True)
        assert sum(ready for ready, _ in seen) > 20
        one.life.stop()


async def test_a_row_that_is_refused_says_nothing_about_the_server(tmp_path: Path) -> None:
    for error in (Rejected({0: Reject("odd", "no")}), Permanent("no")):
        one = Life(Server(error), tmp_path / type(error).__name__)
        async with anyio.create_task_group() as group:
            group.start_soon(one.life.run)
            assert {(True, True)} == set(await healthy(one.life, 30))
            assert len(one.dead) == 1
            one.life.stop()
