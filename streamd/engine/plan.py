"""How a pipeline's stages are wired: an immutable plan made from its configuration, nothing run."""

from __future__ import annotations

from msgspec import Struct

from streamd.api import DEAD_LETTERS
from streamd.settings.model import MAIN, PipelineSpec, StageSpec


class Hop(Struct, frozen=True):
    """A step on a stream. One that taps leaves the stream as it is and writes `output`."""

    step: StageSpec
    taps: bool


class Route(Struct, frozen=True):
    """What happens to a batch on one stream: the steps in order, then the sinks."""

    hops: tuple[Hop, ...]
    sinks: tuple[StageSpec, ...]


def readable_streams(spec: PipelineSpec) -> frozenset[str]:
    """The streams that some stage reads."""
    return frozenset(stream for stage in (*spec.steps, *spec.sinks) for stream in stage.inputs)


def dead_letter_streams(spec: PipelineSpec) -> frozenset[str]:
    """The streams into which policies route what has failed."""
    stages = (*spec.sources, *spec.steps, *spec.sinks)
    policies = [*spec.policies, *(p for stage in stages for p in stage.policies or ())]
    named = {stream for policy in policies for stream in policy.config.emits(policy.plugin)}
    return frozenset(named | {DEAD_LETTERS})


def routes(spec: PipelineSpec) -> dict[str, Route]:
    """The route of each stream that is read. The settings have seen to it that there is one: no
    step reads dead letters, and no sink reads them together with other events."""
    return {
        stream: Route(
            tuple(
                Hop(step, step.output is not None and step.output not in step.inputs)
                for step in spec.steps
                if stream in step.inputs
            ),
            tuple(sink for sink in spec.sinks if stream in sink.inputs),
        )
        for stream in readable_streams(spec)
    }


def feeds(spec: PipelineSpec) -> dict[str, frozenset[str]]:
    """By step, the sources whose events can reach it."""
    reached: dict[str, set[str]] = {}
    for source in spec.sources:
        reached.setdefault(source.output or MAIN, set()).add(source.id)
    fed: dict[str, set[str]] = {step.id: set() for step in spec.steps}
    grows = True
    while grows:
        grows = False
        for step in spec.steps:
            sources = set().union(*(reached.get(stream, set()) for stream in step.inputs))
            for stream in (step.output, *step.config.emits(step.id)):
                grows |= stream is not None and not sources <= reached.get(stream, set())
                if stream is not None:
                    reached.setdefault(stream, set()).update(sources)
            grows |= not sources <= fed[step.id]
            fed[step.id] |= sources
    return {step: frozenset(sources) for step, sources in fed.items()}
