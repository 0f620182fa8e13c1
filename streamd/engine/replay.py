"""Letting dead letters in again: into the stage in which each has failed, or from the source on.

They keep the place that they have always had, so that a sink that knows an event by its place
knows it again. They move no position, and no source is told of them. An answer comes when their
epoch is durable: until then a crash forgets that they were ever let in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec import UNSET, Struct

from streamd.api import Batch, Misconfigured, NeedsOrder, Rejected, Retryable, preparing
from streamd.engine.build import Parts
from streamd.engine.chain import Entry
from streamd.engine.pipeline import Pipeline
from streamd.engine.returns import Return
from streamd.engine.revival import Letter, batch_of, read
from streamd.settings.model import MAIN, StageSpec

_LOOK_AGAIN = 0.5


class ReplayRefusedError(Exception):
    """Nothing was let in, or what was is lost with the pipeline's life. The message says why."""


class ReplayRequest(Struct, frozen=True):
    """Documents to let in again, in this order.

    `into` is a stage other than the one in which each has failed. `whole` is the way from the
    source on; `again` allows it past stages that keep state, which count the event once more (or
    take it for a duplicate). After `park_after` replays a letter that fails again is parked.
    """

    rows: tuple[dict[str, Any], ...]
    into: str | None = None
    whole: bool = False
    again: bool = False
    park_after: int = 5


class RowAnswer(Struct, frozen=True):
    """What has become of one row: done, dead_lettered (anew), dropped, or refused."""

    fate: str
    reason: str = ""


class _NotInError(Exception):
    """Why one row cannot be let in."""


async def replay(pipeline: Pipeline, request: ReplayRequest) -> list[RowAnswer]:
    """Returns once all that was let in is stored, or stands in a store of dead letters again.

    Raises ReplayRefusedError.
    """
    parts = pipeline.parts
    if parts is None or pipeline.state != "running":
        raise ReplayRefusedError(f"{pipeline.spec.name} is {pipeline.state}")
    while parts.intake.full:
        _still_alive(pipeline)
        await parts.intake.progress.wait(_LOOK_AGAIN)
    returning: dict[int, tuple[Letter, Return]] = {}
    await _prepare(parts, request)
    try:
        async with parts.intake.between_batches():
            _still_alive(pipeline)
            sorting = _Sorting(parts, request)
            returning.update(sorting.returning)
            for letter, one in returning.values():
                parts.undelivered.returns.add(letter.place, one)
            epoch = await _let_in(pipeline, parts, sorting)
        while epoch and parts.intake.durable_epoch < epoch:
            _still_alive(pipeline)
            await parts.intake.progress.wait(_LOOK_AGAIN)
    finally:
        for letter, one in returning.values():
            parts.undelivered.returns.discard(letter.place, one)
    return [
        RowAnswer(returning[row][1].fate)
        if row in returning
        else RowAnswer("refused", sorting.refused[row])
        for row in range(len(request.rows))
    ]


async def _prepare(parts: Parts, request: ReplayRequest) -> None:
    """Let the codecs learn what they need while the chain goes on: who is asked may be slow.

    Raises ReplayRefusedError.
    """
    await _prepare_to_encode(parts, request)
    if any(preparing(parts.stages.codecs[source]) for source in parts.stages.sources):
        await _prepare_to_decode(parts, _Sorting(parts, request).groups())


async def _prepare_to_encode(parts: Parts, request: ReplayRequest) -> None:
    """Edited events may be encoded for a source. Where they cannot be, `encode` says why."""
    edited = [row["event"] for row in request.rows if row.get("edited") and "event" in row]
    for source in parts.stages.sources if edited else ():
        if (asking := preparing(parts.stages.codecs[source])) is not None:
            with suppress(Retryable, Misconfigured):
                await asking.prepare_to_encode(edited)


async def _prepare_to_decode(parts: Parts, groups: Iterable[tuple[_Stage, Batch]]) -> None:
    """Raises ReplayRefusedError."""
    for stage, batch in groups:
        asking = preparing(parts.stages.codecs.get(stage.spec.id))
        if asking is not None and stage.spec.role == "source":
            try:
                await asking.prepare_to_decode(batch.raws or ())
            except (Retryable, Misconfigured) as error:
                raise ReplayRefusedError(f"the codec of {stage.spec.id}: {error}") from error


def _still_alive(pipeline: Pipeline) -> None:
    if pipeline.state == "stopped":
        raise ReplayRefusedError(f"{pipeline.spec.name} has ended before it was durable")


async def _let_in(pipeline: Pipeline, parts: Parts, sorting: _Sorting) -> int:
    """The epoch of what was let in, 0 if it is nothing."""
    groups = list(sorting.groups())
    if not groups:
        return 0
    await _prepare_to_decode(parts, groups)

    async def enter(epochs: Sequence[int]) -> None:
        for stage, batch in groups:
            await _enter(parts, stage, batch, epochs)

    events = sum(len(batch) for _, batch in groups)
    try:
        return await parts.intake.inject(events, sum(b.size for _, b in groups), enter)
    except Exception as error:  # as if a source's own batch had done it
        pipeline.fail(error)
        raise ReplayRefusedError(f"the pipeline fails on it: {error}") from error


async def _enter(parts: Parts, stage: _Stage, batch: Batch, epochs: Sequence[int]) -> None:
    wiring = parts.wiring
    if stage.spec.role == "sink":
        wiring.slots[stage.spec.id].put(batch, epochs)
    elif stage.spec.role == "source":
        await wiring.chain.enter(stage.spec.id, batch, epochs)
    else:
        step = parts.stages.steps[stage.spec.id]
        await wiring.chain.resume(step, stage.stream, batch, epochs)


class _Stage(Struct, frozen=True):
    """Where a row enters: a stage, and for a step the stream on which it comes."""

    spec: StageSpec
    stream: str = ""


class _Sorting:
    """Which row goes where. `returning` has the letters by row, `refused` why others do not."""

    def __init__(self, parts: Parts, request: ReplayRequest) -> None:
        self.returning: dict[int, tuple[Letter, Return]] = {}
        self.refused: dict[int, str] = {}
        self._parts = parts
        self._request = request
        spec = parts.stages.spec
        self._specs = {stage.id: stage for stage in (*spec.sources, *spec.steps, *spec.sinks)}
        self._values: dict[int, Any] = {}
        self._raws: dict[int, bytes | None] = {}
        self._groups: dict[tuple[str, str], tuple[_Stage, list[int]]] = {}
        for row, document in enumerate(request.rows):
            try:
                self._sort(row, read(document))
            except (_NotInError, ValueError) as error:
                self.refused[row] = str(error)

    def groups(self) -> Iterator[tuple[_Stage, Batch]]:
        """What enters, stage by stage, in the order of the rows."""
        for stage, rows in self._groups.values():
            letters = [self.returning[row][0] for row in rows]
            decoded = stage.spec.role != "source"
            values = [self._values[row] for row in rows] if decoded else []
            yield stage, batch_of(letters, values, [self._raws[row] for row in rows])

    def _sort(self, row: int, letter: Letter) -> None:
        stage = self._stage_for(letter)
        self._raws[row] = letter.raw
        if stage.spec.role == "source":
            self._raws[row] = self._encoded(stage.spec, letter)
        else:
            self._values[row] = letter.value
        self._check(stage, letter)
        _, rows = self._groups.setdefault((stage.spec.id, stage.stream), (stage, []))
        rows.append(row)
        again = Return(letter.dlq_id, letter.attempts, letter.replays + 1, self._request.park_after)
        self.returning[row] = (letter, again)

    def _stage_for(self, letter: Letter) -> _Stage:
        if self._request.whole:
            return self._source_of(letter)
        name = self._request.into or letter.stage
        spec = self._specs.get(name)
        if spec is None:
            raise _NotInError(f"the pipeline has no stage {name} now; name another one")
        if spec.role == "source":
            return _Stage(spec)
        if spec.role == "sink":
            if letter.value is UNSET:
                raise _NotInError(f"only its bytes are known, and {name} takes decoded events")
            return _Stage(spec)
        stream = letter.stream or (MAIN if MAIN in spec.inputs else spec.inputs[0])
        if stream not in spec.inputs:
            raise _NotInError(f"{name} does not read the stream {stream} now")
        if (self._decodes(spec) and letter.event is UNSET) or letter.value is UNSET:
            return self._source_of(letter)
        return _Stage(spec, stream)

    def _decodes(self, spec: StageSpec) -> bool:
        """Whether the step decodes what it validates: then it has failed on bytes."""
        wiring, step = self._parts.wiring, self._parts.stages.steps[spec.id]
        return any(
            entry.skip and wiring.lines[entry.stream].stops[0].node.step is step
            for entry in self._entries.values()
        )

    @property
    def _entries(self) -> Mapping[str, Entry]:
        return self._parts.wiring.entries

    def _source_of(self, letter: Letter) -> _Stage:
        partition = letter.place[0]
        if partition.split(":", 1)[0] in self._parts.stages.steps:
            raise _NotInError(
                "a step has made it, no source: replay it into the stage it failed in"
            )
        sources = self._parts.stages.spec.sources
        owner = self._parts.intake.owners.get(partition)
        if owner is None and len(sources) > 1:
            raise _NotInError(f"no source reads {partition} now; name the source to replay it into")
        return _Stage(self._specs[owner or sources[0].id])

    def _encoded(self, spec: StageSpec, letter: Letter) -> bytes | None:
        """What the source's codec is to decode."""
        if letter.event is UNSET or not letter.edited:
            return letter.raw
        try:
            return self._parts.stages.codecs[spec.id].encode([letter.event])[0]
        except (Rejected, Retryable, Misconfigured) as error:
            raise _NotInError(f"its event cannot be encoded for the source: {error}") from None

    def _check(self, stage: _Stage, letter: Letter) -> None:
        """Raises _NotInError where a stage would lose it, or count it where it must not."""
        slots = self._parts.wiring.slots
        sinks = [stage.spec.id] if stage.spec.role == "sink" else list(slots)
        for name in sinks:
            sink = slots[name].sink
            if isinstance(sink, NeedsOrder) and sink.needs_order:
                raise _NotInError(f"the sink {name} would take it for stored: see its settings")
        keeping = self._parts.wiring.stateful
        if stage.spec.role == "sink" or not keeping:
            return
        if letter.place[0] not in self._parts.intake.owners:
            raise _NotInError(f"{letter.place[0]} is not read here now, so its state is not here")
        if self._request.whole and not self._request.again:
            raise _NotInError(f"it would pass stages that keep state again: {', '.join(keeping)}")
