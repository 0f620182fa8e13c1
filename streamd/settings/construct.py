"""Building every plugin of a checked configuration once, without running any.

Constructors do no I/O but may find faults that no type can express (`ConfigError`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any

from msgspec import structs

from streamd.api import Committed, ConfigError, Reject, StageContext, SystemClock
from streamd.catalog import Catalog
from streamd.settings.keys import STAGE_ROLES
from streamd.settings.model import PipelineSpec, PluginSpec, StageSpec
from streamd.settings.problems import Problems, path_of


class InertLog:
    """A logger and a set of metrics in one: takes everything, keeps nothing."""

    def debug(self, event: str, **fields: Any) -> None: ...

    info = warning = error = debug

    def counter(self, name: str, documentation: str, **labels: str) -> InertLog:  # noqa: ARG002
        return self

    gauge = histogram = counter

    def inc(self, amount: float = 1) -> None: ...

    set = observe = inc

    def validation_failed(self, rejects: Iterable[Reject]) -> None: ...

    def exposition(self) -> tuple[bytes, str]:
        return b"", "text/plain"


class InertControl:
    """The engine's side of a source that is never polled."""

    async def assigned(self, partitions: Mapping[str, Committed | None]) -> dict[str, int | None]:
        return dict.fromkeys(partitions)

    async def revoking(self, partitions: Collection[str]) -> None: ...

    lost = revoking


def extensions_of(catalog: Catalog) -> dict[str, Mapping[str, type]]:
    """The plugins of roles that the engine does not know, by role and name."""
    own = {*STAGE_ROLES, "codec", "policy"}
    return {role: catalog.extensions(role) for role in catalog.roles() if role not in own}


def context_for(
    stage: StageSpec, pipeline: PipelineSpec, catalog: Catalog, state_dir: FilePath
) -> StageContext:
    """A context to check a stage in: no log, no metrics, no engine behind it."""
    readers = (*pipeline.steps, *pipeline.sinks)
    inert = InertLog()
    return StageContext(
        pipeline=pipeline.name,
        stage=stage.id,
        role=stage.role,
        log=inert,
        metrics=inert,
        clock=SystemClock(),
        state_dir=state_dir,
        inputs=stage.inputs,
        readable=frozenset(stream for reader in readers for stream in reader.inputs),
        control=InertControl() if stage.role == "source" else None,
        extensions=extensions_of(catalog),
    )


def build(stage: StageSpec, context: StageContext) -> Any:
    """The stage with its codec.

    Raises ConfigError if a constructor finds a setting wrong.
    """
    codec = None if stage.codec is None else stage.codec.build(context)
    return stage.build(structs.replace(context, codec=codec))


def check(
    pipeline: PipelineSpec, catalog: Catalog, state_dir: FilePath, problems: Problems
) -> None:
    """Note what the constructors of a pipeline's plugins find wrong."""
    for stage in (*pipeline.sources, *pipeline.steps, *pipeline.sinks):
        context = context_for(stage, pipeline, catalog, state_dir)
        if stage.codec is not None:
            codec = _try(stage.codec, context, problems)
            context = structs.replace(context, codec=codec)
        if stage.codec is None or context.codec is not None:
            _try(stage, context, problems)
        for policy in pipeline.policies if stage.policies is None else stage.policies:
            _try(policy, context, problems)


def _try(spec: PluginSpec, context: StageContext, problems: Problems) -> Any:
    try:
        return spec.build(context)
    except ConfigError as error:
        at = path_of(spec.path)
        also = (*at, *path_of(error.also)) if error.also else None
        problems.add((*at, *path_of(error.path)), str(error), also)
    except Exception as error:
        problems.add(path_of(spec.path), f"the plugin is at fault: {type(error).__name__}: {error}")
    return None
