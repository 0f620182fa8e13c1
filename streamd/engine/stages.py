"""The stages of a pipeline as objects, made from its specification. Does no I/O.

A second version of a specification takes over the objects of every stage that means the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import structlog

from streamd.api import (
    Clock,
    Codec,
    Control,
    Policy,
    Sink,
    Source,
    StageContext,
    Step,
)
from streamd.engine.plan import readable_streams
from streamd.engine.store import Store
from streamd.engine.tap import Outlets
from streamd.settings.model import PipelineSpec, PluginSpec, StageSpec
from streamd.telemetry.metrics import Telemetry


@dataclass(frozen=True)
class Surroundings:
    """What the daemon lends to all of its pipelines."""

    store: Store
    telemetry: Telemetry
    clock: Clock
    state_dir: Path
    config_digest: str = ""
    extensions: Mapping[str, Mapping[str, type]] = field(default_factory=dict)
    outlets: Outlets = field(default_factory=Outlets)


@dataclass(frozen=True)
class Stages:
    """One version of a pipeline's stages by id; `policies` are those that apply to each.

    `codecs` are those of sources and sinks, each made and kept with its stage.
    """

    spec: PipelineSpec
    sources: dict[str, Source]
    codecs: dict[str, Codec]
    steps: dict[str, Step]
    sinks: dict[str, Sink]
    policies: dict[str, list[Policy]]

    def objects(self) -> dict[str, Any]:
        """Every stage in the order in which they open: those first that others write to."""
        return {**self.sinks, **self.steps, **self.sources}


def make_stages(
    spec: PipelineSpec,
    around: Surroundings,
    control: Callable[[str], Control],
    old: Stages | None = None,
) -> Stages:
    """Build every stage that `old` does not have already.

    `control(source)` is the engine's side of a source. Raises ConfigError if a stage finds a
    setting wrong.
    """
    maker = _Maker(spec, around, control, old)
    codecs = {s.id: maker.codec(s) for s in (*spec.sources, *spec.sinks) if s.codec is not None}
    return Stages(
        spec=spec,
        sources={s.id: maker.source(s, codecs[s.id]) for s in spec.sources},
        codecs=codecs,
        steps={s.id: maker.stage(s) for s in spec.steps},
        sinks={s.id: maker.stage(s, codec=codecs.get(s.id)) for s in spec.sinks},
        policies={s.id: maker.policies(s) for s in (*spec.sources, *spec.steps, *spec.sinks)},
    )


class _Maker:
    """Builds stages with their contexts, or takes the old ones."""

    def __init__(
        self,
        spec: PipelineSpec,
        around: Surroundings,
        control: Callable[[str], Control],
        old: Stages | None,
    ) -> None:
        self._spec = spec
        self._around = around
        self._control = control
        self._readable = readable_streams(spec)
        self._log = structlog.get_logger().bind(pipeline=spec.name)
        self._old = {} if old is None else identities(old.spec)
        self._objects = {} if old is None else old.objects()
        self._codecs = {} if old is None else old.codecs
        self._new = identities(spec)

    def source(self, spec: StageSpec, codec: Codec) -> Source:
        source: Source = self.stage(spec, codec=codec, control=self._control(spec.id))
        return source

    def stage(self, spec: StageSpec, **lent: Any) -> Any:
        return self._kept(spec) or spec.build(self._context(spec, **lent))

    def codec(self, spec: StageSpec) -> Codec:
        if self._kept(spec) is not None:
            return self._codecs[spec.id]
        assert spec.codec is not None
        codec: Codec = spec.codec.build(self._context(spec))
        return codec

    def policies(self, spec: StageSpec) -> list[Policy]:
        chosen = self._spec.policies if spec.policies is None else spec.policies
        return [policy.build(self._context(spec)) for policy in chosen]

    def _kept(self, spec: StageSpec) -> Any:
        same = self._old.get(spec.id) == self._new[spec.id]
        return self._objects.get(spec.id) if same else None

    def _context(self, spec: StageSpec, **lent: Any) -> StageContext:
        around = self._around
        return StageContext(
            pipeline=self._spec.name,
            stage=spec.id,
            role=spec.role,
            log=self._log.bind(stage=spec.id),
            metrics=around.telemetry.stage(self._spec.name, spec.id),
            clock=around.clock,
            state_dir=around.state_dir,
            inputs=spec.inputs,
            readable=self._readable,
            extensions=around.extensions,
            **lent,
        )


def identities(spec: PipelineSpec) -> dict[str, Any]:
    """What a stage's object was made from, by id: equal means that the object can stay."""
    readable = readable_streams(spec)
    return {
        stage.id: (
            msgspec.structs.replace(
                stage,
                path="",
                codec=None if stage.codec is None else _placeless(stage.codec),
                policies=None,
                batch=None,
                output=None,
                reset_state=False,
            ),
            readable & set(stage.config.emits(stage.id)),
        )
        for stage in (*spec.sources, *spec.steps, *spec.sinks)
    }


def _placeless(spec: PluginSpec) -> PluginSpec:
    return msgspec.structs.replace(spec, path="")
