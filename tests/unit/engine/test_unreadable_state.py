"""State that a step cannot read: a person is told which step, and nothing runs without it."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import anyio

from streamd.api import Misconfigured
from streamd.engine.supervisor import Supervisor
from streamd.testing.harness import pipeline, stage, surroundings
from streamd.testing.memory import MemoryStore
from tests.unit.engine.doubles import Through, sink, source, topic_of


class Newer(Through):
    """A step whose state another version has written."""

    def assign(self, partitions: Collection[str], rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        raise Misconfigured("state of version 9")

    def revoke(self, partitions: Collection[str]) -> None:
        """Nothing is held."""

    def take_changes(self) -> list[Any]:
        return []


async def test_the_step_is_named(tmp_path: Path) -> None:
    rows: list[Any] = []
    spec = pipeline(
        source(topic_of(10), endless=True),
        stage("transform", "counts", lambda _context: Newer(lambda batch: [batch])),
        sink(rows),
    )
    supervisor = Supervisor(spec, surroundings(MemoryStore(), state_dir=tmp_path))
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await anyio.sleep(20)
        problems = supervisor.status().problems
        supervisor.stop()
    assert problems
    assert any("counts: state of version 9" in problem for problem in problems)
    assert rows == []
