"""Dead letters that are let in again through a codec that has to ask somebody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from streamd.api import DEAD_LETTERS, Retryable
from streamd.engine.replay import ReplayRefusedError, ReplayRequest, replay
from streamd.testing.harness import pipeline
from tests.unit.engine.asking import AskingJson, Elsewhere, TryAgain, asking_source
from tests.unit.engine.doubles import running, sink, topic_of


async def test_one_who_does_not_answer_holds_nobody_else_up(tmp_path: Path) -> None:
    rows: list[Any] = []
    dead: list[Any] = []
    elsewhere, topic = Elsewhere(), topic_of(20)
    codec = AskingJson(elsewhere, unknown=[1])
    spec = pipeline(
        asking_source(topic, lambda _: codec, endless=True),
        sink(rows),
        sink(dead, "dlq", inputs=(DEAD_LETTERS,)),
        policies=[TryAgain()],
    )

    async def slow() -> None:
        await anyio.sleep(30)
        raise Retryable("no answer in time")

    async def let_in() -> None:
        with pytest.raises(ReplayRefusedError, match="no answer in time"):
            await replay(life, ReplayRequest((dead[0],)))

    async with running(spec, tmp_path) as life:
        await anyio.sleep(5)
        codec._tens.discard(1)
        elsewhere.ask = slow  # type: ignore[method-assign]
        async with anyio.create_task_group() as group:
            group.start_soon(let_in)
            await anyio.sleep(1)
            topic.add(b'{"n": 5}')
            await anyio.sleep(5)
            assert len(rows) == 11
