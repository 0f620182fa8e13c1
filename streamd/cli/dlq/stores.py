"""Finding the store that a command is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from msgspec import Struct

from streamd.api import DeadLetterStore, KeepsDeadLetters
from streamd.engine.plan import dead_letter_streams
from streamd.engine.spill import spill_path, spilled
from streamd.settings import Settings
from streamd.settings.construct import build, context_for
from streamd.settings.model import PipelineSpec, StageSpec


class NoStoreError(Exception):
    """There is no such store; the message says what there is."""


class Found(Struct, frozen=True):
    """A store that is not open yet, and where it belongs. `name` is the sink's id, or spilled."""

    pipeline: PipelineSpec
    name: str
    state_dir: Path
    opening: AbstractAsyncContextManager[DeadLetterStore]


def find(
    settings: Settings, *, pipeline: str | None, sink: str | None, spill: bool = False
) -> Found:
    """The store of this sink, or the first of all.

    Raises NoStoreError.
    """
    state_dir = Path(settings.daemon.state_dir)
    pipelines = [one for one in settings.pipelines if pipeline in (None, one.name)]
    if not pipelines:
        names = ", ".join(one.name for one in settings.pipelines)
        raise NoStoreError(f"there is no pipeline {pipeline}, only {names}")
    if spill:
        return _spilled(pipelines, state_dir)
    for one, stage in _readers(pipelines):
        if sink not in (None, stage.id):
            continue
        built = build(stage, context_for(stage, one, settings.catalog, state_dir))
        if isinstance(built, KeepsDeadLetters):
            return Found(one, stage.id, state_dir, built.dead_letters())
        if sink is not None:
            raise NoStoreError(f"{stage.id}: a {stage.plugin} sink cannot be read back")
    readers = ", ".join(stage.id for _, stage in _readers(pipelines))
    if sink is not None:
        raise NoStoreError(f"no sink {sink} reads dead letters; those that do: {readers or 'none'}")
    raise NoStoreError(
        "no sink that reads dead letters can be read back; --spilled has those that none has taken"
    )


def spilled_somewhere(settings: Settings) -> Iterator[Path]:
    """The files of spilled letters that there are."""
    for pipeline in settings.pipelines:
        path = spill_path(Path(settings.daemon.state_dir), pipeline.name)
        if path.exists():
            yield path


def _spilled(pipelines: list[PipelineSpec], state_dir: Path) -> Found:
    there = [one for one in pipelines if spill_path(state_dir, one.name).exists()]
    chosen = (there or pipelines)[0]
    return Found(chosen, "spilled", state_dir, spilled(state_dir, chosen.name))


def _readers(pipelines: list[PipelineSpec]) -> Iterator[tuple[PipelineSpec, StageSpec]]:
    for pipeline in pipelines:
        streams = dead_letter_streams(pipeline)
        for sink in pipeline.sinks:
            if streams & set(sink.inputs):
                yield pipeline, sink
