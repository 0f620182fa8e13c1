"""A pipeline as nodes and edges. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from streamd.engine.plan import Route, dead_letter_streams, readable_streams, routes
from streamd.settings.model import PipelineSpec, StageSpec


class Node(Struct, frozen=True):
    """A stage, or a stream (`kind`) into which many write. `key` is an identifier."""

    key: str
    kind: str
    name: str
    note: str


class Edge(Struct, frozen=True):
    """Events go from one node to the next on the stream `label`; `failed`: dead letters do."""

    start: str
    end: str
    label: str = ""
    failed: bool = False


class Drawing(Struct, frozen=True):
    """One pipeline, stages in the order of its specification."""

    pipeline: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def draw(spec: PipelineSpec) -> Drawing:
    """Raises ConfigError if the wiring cannot be."""
    stages = (*spec.sources, *spec.steps, *spec.sinks)
    keys = {stage.id: f"n{number}" for number, stage in enumerate(stages)}
    plan = routes(spec)
    dead = sorted(dead_letter_streams(spec) & readable_streams(spec))
    dropped = sorted(set(spec.options.drop_streams) - plan.keys())
    streams = {stream: f"s{number}" for number, stream in enumerate((*dead, *dropped))}
    nodes = [
        Node(keys[stage.id], stage.role, stage.id, f"{stage.role} {stage.plugin}")
        for stage in stages
    ]
    nodes += [
        Node(key, "stream", stream, "dropped" if stream in dropped else "")
        for stream, key in streams.items()
    ]
    edges: list[Edge] = []
    for stream in sorted(plan.keys() - set(dead)):
        edges += _along(stream, plan[stream], _writers(stream, spec), keys)
    for stream in dropped:
        edges += [Edge(keys[s.id], streams[stream], stream) for s in _writers(stream, spec)]
    for stream in dead:
        senders = [stage for stage in stages if stream in _buries_into(stage, spec)]
        edges += [Edge(keys[stage.id], streams[stream], failed=True) for stage in senders]
        edges += [Edge(streams[stream], keys[s.id], failed=True) for s in plan[stream].sinks]
    return Drawing(spec.name, tuple(nodes), tuple(edges))


def _along(
    stream: str, route: Route, writers: list[StageSpec], keys: dict[str, str]
) -> Iterator[Edge]:
    """The edges of one stream: from its writers through the steps that rewrite it to the sinks."""
    ends = [keys[stage.id] for stage in writers]
    for hop in route.hops:
        yield from (Edge(end, keys[hop.step.id], stream) for end in ends)
        if not hop.taps:
            ends = [keys[hop.step.id]]
    for sink in route.sinks:
        yield from (Edge(end, keys[sink.id], stream) for end in ends)


def _writers(stream: str, spec: PipelineSpec) -> list[StageSpec]:
    """The stages that put events into a stream, but for those that only rewrite it."""
    return [
        stage
        for stage in (*spec.sources, *spec.steps)
        if stream not in stage.inputs
        and (stage.output == stream or stream in stage.config.emits(stage.id))
    ]


def _buries_into(stage: StageSpec, spec: PipelineSpec) -> set[str]:
    """The streams of dead letters that a stage's policies name. A reader of them has none."""
    if set(stage.inputs) & dead_letter_streams(spec):
        return set()
    policies = spec.policies if stage.policies is None else stage.policies
    return {stream for policy in policies for stream in policy.config.emits(stage.id)}
