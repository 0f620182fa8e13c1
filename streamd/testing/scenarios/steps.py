"""Looking at what a real step puts out."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any

import anyio

from streamd.api import Batch, Rejects
from streamd.testing.scenarios.matching import plain
from streamd.testing.scenarios.script import Row, Rows


def watch(step: Any, rows: Rows) -> None:
    """Note what a step puts out, whether events made it or time; all else about it stays.

    Raises AttributeError if the step has `__slots__`.
    """
    _watch_calls(step, "process", rows)
    if hasattr(step, "tick"):
        _watch_calls(step, "tick", rows)
    if hasattr(step, "typed"):
        typed = step.typed

        def typed_and_watched(codec: Any) -> Any:
            fused = typed(codec)
            if fused is not None:
                _watch_calls(fused, "process", rows)
            return fused

        step.typed = typed_and_watched


def _watch_calls(step: Any, method: str, rows: Rows) -> None:
    original = getattr(step, method)

    def note(results: Iterable[Batch | Rejects]) -> Sequence[Batch | Rejects]:
        made = list(results)
        now = anyio.current_time()
        for result in made:
            if isinstance(result, Batch):
                rows.extend(Row(now, plain(value)) for value in result.values)
        return made

    async def later(found: Awaitable[Iterable[Batch | Rejects]]) -> Sequence[Batch | Rejects]:
        return note(await found)

    def watched(argument: Any) -> Any:
        found = original(argument)
        return later(found) if inspect.isawaitable(found) else note(found)

    setattr(step, method, watched)
