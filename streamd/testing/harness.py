"""A pipeline made of ready stages, without a configuration file: for tests of the engine's laws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from streamd.api import BatchLimits, Policy, StageConfig, StageContext
from streamd.engine.pipeline import Pipeline
from streamd.engine.reload import prepare
from streamd.engine.stages import Surroundings
from streamd.engine.store import Store
from streamd.settings.model import MAIN, PipelineOptions, PipelineSpec, PluginSpec, StageSpec
from streamd.telemetry.metrics import Telemetry
from streamd.testing.codecs import PlainJson
from streamd.testing.virtual_time import LoopClock

Make = Callable[[StageContext], Any]


def stage(
    role: str,
    name: str,
    make: Make,
    *,
    inputs: tuple[str, ...] | None = None,
    output: str | None = None,
    policies: Sequence[Policy] | None = None,
    batch: BatchLimits | None = None,
    config: StageConfig | None = None,
    codec: Make | None = None,
) -> StageSpec:
    """The specification of a stage that `make(context)` builds, and of its codec (else JSON)."""
    if inputs is None:
        inputs = () if role == "source" else (MAIN,)
    return StageSpec(
        path=f"pipeline.test.{role}.{name}",
        role=role,
        plugin=name,
        cls=_made_by(make),
        config=config or StageConfig(),
        id=name,
        inputs=inputs,
        output=output or (MAIN if role == "source" else name if role == "window" else None),
        codec=_plugin("codec", codec or _plain_json) if role != "window" else None,
        policies=None if policies is None else tuple(map(_policy, policies)),
        batch=batch,
    )


def pipeline(
    *stages: StageSpec,
    policies: Sequence[Policy] = (),
    options: PipelineOptions | None = None,
    name: str = "test",
) -> PipelineSpec:
    """A pipeline of these stages; steps keep the order in which they are given."""
    return PipelineSpec(
        name=name,
        sources=tuple(s for s in stages if s.role == "source"),
        steps=tuple(s for s in stages if s.role not in ("source", "sink")),
        sinks=tuple(s for s in stages if s.role == "sink"),
        policies=tuple(map(_policy, policies)),
        options=options or PipelineOptions(),
    )


def surroundings(
    store: Store, *, state_dir: Path = Path("var"), telemetry: Telemetry | None = None
) -> Surroundings:
    """What a daemon lends, with the wall clock on the loop's time."""
    return Surroundings(store, telemetry or Telemetry(), LoopClock(), state_dir)


async def reload(life: Pipeline, spec: PipelineSpec) -> float:
    """Let a running pipeline go on by another specification; seconds that its chain stood still.

    Raises ReloadRefusedError or ChainBusyError.
    """
    return await (await prepare(life, spec)).carry_out()


def _plain_json(_context: StageContext) -> PlainJson:
    return PlainJson()


def _policy(policy: Policy) -> PluginSpec:
    return _plugin("policy", lambda _context: policy)


def _plugin(role: str, make: Make) -> PluginSpec:
    return PluginSpec(path=role, role=role, plugin=role, cls=_made_by(make), config=StageConfig())


def _made_by(make: Make) -> Any:
    return lambda _config, context: make(context)
