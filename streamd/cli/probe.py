"""`streamd check --connect`: ask each stage whether it would work, all at the same time."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from msgspec import Struct

from streamd import exits
from streamd.api import Probe
from streamd.settings import Settings
from streamd.settings.construct import build, context_for
from streamd.settings.model import PipelineSpec, StageSpec


class Finding(Struct, frozen=True):
    """What one stage has answered: good, bad, or (`works` is None) nothing to ask."""

    stage: str
    works: bool | None
    message: str

    def __str__(self) -> str:
        word = {True: "ok", False: "FAILED", None: "-"}[self.works]
        return f"{self.stage}  {word}  {self.message}"


def probe(settings: Settings, timeout: float) -> int:
    """Print one line per stage, in the order of the file."""
    logging.disable()  # what the client libraries log is in the findings
    try:
        findings = anyio.run(_probe_all, settings, timeout)
    finally:
        logging.disable(logging.NOTSET)
    for finding in findings:
        print(finding, file=sys.stderr if finding.works is False else sys.stdout)
    return exits.FAILED if any(finding.works is False for finding in findings) else exits.OK


async def _probe_all(settings: Settings, timeout: float) -> list[Finding]:
    asked = [
        probed
        for pipeline in settings.pipelines
        for stage in (*pipeline.sources, *pipeline.steps, *pipeline.sinks)
        for probed in _probed(settings, pipeline, stage)
    ]
    findings: dict[int, Finding] = {}

    async def ask(at: int, name: str, make: Callable[[], Any]) -> None:
        findings[at] = await _probe(name, make, timeout)

    async with anyio.create_task_group() as tasks:
        for at, (name, make) in enumerate(asked):
            tasks.start_soon(ask, at, name, make)
    return [findings[at] for at in range(len(asked))]


def _probed(
    settings: Settings, pipeline: PipelineSpec, stage: StageSpec
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """A stage, and before it its codec if that can be asked too."""
    name = f"{pipeline.name}.{stage.id}"
    context = context_for(stage, pipeline, settings.catalog, Path(settings.daemon.state_dir))
    codec = stage.codec
    if codec is not None and issubclass(codec.cls, Probe):
        yield f"{name}.codec", partial(codec.build, context)
    yield name, partial(build, stage, context)


async def _probe(name: str, make: Callable[[], Any], timeout: float) -> Finding:
    try:
        built = make()
        if not isinstance(built, Probe):
            return Finding(name, None, "connects to nothing")
        with anyio.fail_after(timeout):
            return Finding(name, True, await built.healthcheck())
    except TimeoutError:
        return Finding(name, False, f"no answer within {timeout:g} s")
    except Exception as error:
        return Finding(name, False, f"{type(error).__name__}: {error}")
