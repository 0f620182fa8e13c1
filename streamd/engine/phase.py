"""A part of a reload as a task of the pipeline that it changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from streamd.engine.pipeline import Pipeline

T = TypeVar("T")


class ReloadRefusedError(Exception):
    """The new version cannot take over; the old one goes on. The message says why."""


class ChainBusyError(Exception):
    """A step holds the chain and will not let go: only a new start can replace it."""


async def in_life(pipeline: Pipeline, phase: Callable[[], Awaitable[T]]) -> T:
    """Do one phase in a task of the pipeline: if its life ends, the phase ends with it, and
    nobody else does.

    Raises what the phase raises, or ReloadRefusedError if the pipeline ended meanwhile.
    """
    done = anyio.Event()
    results: list[T] = []
    errors: list[Exception] = []

    async def task() -> None:
        try:
            results.append(await phase())
        except Exception as error:
            errors.append(error)
        finally:
            done.set()

    if pipeline.state != "stopped":
        pipeline.start_task(task)
        await done.wait()
    if errors:
        raise errors[0]
    if not results:
        raise ReloadRefusedError(f"{pipeline.spec.name} ended meanwhile")
    return results[0]
