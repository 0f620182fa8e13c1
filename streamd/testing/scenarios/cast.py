"""Who plays in a test: the pipeline with stand-ins for its sources and sinks."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from streamd.api import BatchLimits, StageConfig, StageContext
from streamd.settings.model import PipelineSpec, StageSpec
from streamd.testing.scenarios.arrivals import partition_of
from streamd.testing.scenarios.script import Place, Row, Rows, Script
from streamd.testing.scenarios.sinks import CodecWatch, VirtualSink
from streamd.testing.scenarios.sources import AnsweringSource, VirtualSource
from streamd.testing.scenarios.steps import watch


class Cast:
    """`pipeline` is what to run; `rows` fills while it runs, for every place that is looked at."""

    def __init__(self, script: Script) -> None:
        spec = script.pipeline
        self.rows: dict[Place, Rows] = {one.place: [] for one in script.expected}
        for kind, stages in (("sink", spec.sinks), ("source", spec.sources)):
            self.rows |= {Place(kind, stage.id): [] for stage in stages}
        self.dead_letters: Rows = []
        self._script = script
        self._sources: dict[str, VirtualSource] = {}
        self.pipeline: PipelineSpec = structs.replace(
            spec,
            sources=tuple(map(self._source, spec.sources)),
            steps=tuple(map(self._step, spec.steps)),
            sinks=(*map(self._sink, spec.sinks), *self._taps()),
        )

    @property
    def all_given(self) -> bool:
        """Whether everything that the test sends has been read."""
        return all(source.all_given for source in self._sources.values())

    def _source(self, spec: StageSpec) -> StageSpec:
        script = self._script
        scenario, pipeline = script.scenario, script.pipeline.name
        moments = () if scenario.until is None else (float(scenario.until),)

        def make(config: Any, context: StageContext) -> VirtualSource:
            real = spec.cls(config, context)
            options: dict[str, Any] = {
                "partition": partition_of(spec, pipeline),
                "moments": moments,
                "ends": scenario.end,
            }
            kind: Any = VirtualSource
            if hasattr(real, "settle"):
                kind = AnsweringSource
                options["answers"] = self.rows[Place("source", spec.id)]
            source: VirtualSource = kind(real, script.arrivals[spec.id], context, **options)
            self._sources[spec.id] = source
            return source

        return structs.replace(spec, cls=make)

    def _step(self, spec: StageSpec) -> StageSpec:
        rows = self.rows.get(Place("step", spec.id))
        if rows is None:
            return spec

        def make(config: Any, context: StageContext) -> Any:
            step = spec.cls(config, context)
            watch(step, rows)
            return step

        return structs.replace(spec, cls=make)

    def _sink(self, spec: StageSpec) -> StageSpec:
        rows = self.rows[Place("sink", spec.id)]
        faults = [fault for fault in self._script.faults if fault.sink == spec.id]

        def make(config: Any, context: StageContext) -> VirtualSink:
            watched: Any = CodecWatch(context)
            spec.cls(config, watched)
            encode = context.codec.encode if watched.asked and context.codec else None
            return VirtualSink(rows, faults, encode)

        limits = spec.batch or getattr(spec.cls, "batch", BatchLimits())
        return structs.replace(spec, cls=make, batch=limits)

    def _taps(self) -> list[StageSpec]:
        """One more reader of each stream that is looked at, and of those of dead letters.

        Only of streams that somebody reads: a reader more of others would change the wiring.
        """
        dead = sorted(self._script.dead_letter_streams)
        taps = [_tap(f"dead-letters-{name}", name, self.dead_letters) for name in dead]
        streams = {place: rows for place, rows in self.rows.items() if place.kind == "stream"}
        return taps + [_tap(f"tap-{place.name}", place.name, r) for place, r in streams.items()]


def _tap(name: str, stream: str, rows: list[Row]) -> StageSpec:
    return StageSpec(
        path=f"test.{name}",
        role="sink",
        plugin="tap",
        cls=_maker(rows),
        config=StageConfig(),
        id=f"test.{name}",
        inputs=(stream,),
        batch=BatchLimits(),
    )


def _maker(rows: list[Row]) -> Any:
    return lambda _config, _context: VirtualSink(rows)
