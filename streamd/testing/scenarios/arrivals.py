"""The inputs of a test become the records that its sources read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamd.api import Codec, Rejected, partition_name
from streamd.settings.construct import context_for
from streamd.settings.lines import Path
from streamd.settings.model import PipelineSpec, Settings, StageSpec
from streamd.settings.problems import Problems, nearest
from streamd.testing.scenarios.model import Input, Scenario
from streamd.testing.scenarios.script import Arrival


def arrivals(
    scenario: Scenario, pipeline: PipelineSpec, settings: Settings, path: Path, problems: Problems
) -> dict[str, tuple[Arrival, ...]]:
    """Every source of the pipeline with its records, in the order of their arrival."""
    found: dict[str, list[Arrival]] = {source.id: [] for source in pipeline.sources}
    for number, given in enumerate(scenario.input):
        where = (*path, "input", number)
        source = _source_of(given, pipeline.sources, where, problems)
        if source is not None:
            codec = _codec_of(source, pipeline, settings)
            start_ms = round(scenario.start.timestamp() * 1000)
            partition = partition_of(source, pipeline.name, given.topic, given.partition)
            for at, event in enumerate(given.events):
                raw = _encoded(event, codec, (*where, "events", at), problems)
                found[source.id].append(_arrival(given, at, partition, raw, start_ms))
    return {name: tuple(sorted(some, key=lambda one: one.at)) for name, some in found.items()}


def partition_of(
    source: StageSpec, pipeline: str, topic: str | None = None, number: int = 0
) -> str:
    """What the real source would call its partition, as far as its settings tell."""
    if topic is None:
        settings = (getattr(source.config, key, None) for key in ("topics", "topic", "path"))
        named = next((one for one in settings if one), f"{pipeline}.{source.id}")
        topic = named if isinstance(named, str) else str(next(iter(named)))
    return partition_name(topic, number)


def _source_of(
    given: Input, sources: Sequence[StageSpec], path: Path, problems: Problems
) -> StageSpec | None:
    names = [source.id for source in sources]
    if given.source is None:
        if len(sources) == 1:
            return sources[0]
        problems.add(path, f"say at which source: {', '.join(names)}")
        return None
    if given.source not in names:
        message = f'no source is called "{given.source}"{nearest(given.source, names)}'
        problems.add((*path, "source"), message)
        return None
    return sources[names.index(given.source)]


def _codec_of(source: StageSpec, pipeline: PipelineSpec, settings: Settings) -> Codec:
    assert source.codec is not None, source.path
    context = context_for(source, pipeline, settings.catalog, settings.path.parent)
    codec: Codec = source.codec.build(context)
    return codec


def _encoded(event: Any, codec: Codec, path: Path, problems: Problems) -> bytes:
    if isinstance(event, str):
        return event.encode()
    try:
        return codec.encode([event])[0]
    except Rejected as error:
        problems.add(path, f"the codec of the source cannot encode it: {error.rows[0].message}")
        return b""


def _arrival(given: Input, number: int, partition: str, raw: bytes, start_ms: int) -> Arrival:
    at = given.at + number * given.every
    stamped = given.timestamp.timestamp() * 1000 if given.timestamp else start_ms + at * 1000
    return Arrival(
        at,
        partition,
        raw,
        round(stamped),
        None if given.key is None else given.key.encode(),
        tuple((name, value.encode()) for name, value in given.headers.items()),
    )
