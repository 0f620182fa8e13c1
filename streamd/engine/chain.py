"""The fused chain: decode, then every step over a batch, down to the slots. One task runs it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from streamd.api import Batch, Codec, Fatal, Reject, Rejected, Rejects, Step, Timed, Typed
from streamd.engine.failure import Resolver, StateSuspect
from streamd.engine.frames import let_go
from streamd.engine.single import Feeder
from streamd.engine.slot import Slot
from streamd.engine.tap import Outlet
from streamd.telemetry.metrics import StageMetrics


class Decode:
    """The codec of a source as the first step of its chain."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    def process(self, batch: Batch) -> Iterable[Batch | Rejects]:
        values, rejects = self._codec.decode(batch.raws or ())
        if not rejects:
            return [batch.replace(values)]
        good = [row for row in range(len(batch)) if row not in rejects]
        return [Rejects(rejects), batch.take(good, [values[row] for row in good])]


class Node:
    """A step in the chain, with its way of failing. One that keeps state has a feeder."""

    def __init__(
        self,
        step: Step,
        resolver: Resolver,
        metrics: StageMetrics,
        output: str | None = None,
        feeder: Feeder | None = None,
    ) -> None:
        self.step = step
        self.output = output
        self.resolver = resolver
        self.feeder = feeder
        self._metrics = metrics

    async def run(
        self, batch: Batch, stream: str, epochs: Sequence[int]
    ) -> list[tuple[str, Batch]]:
        """What comes of the batch, with the stream that each result goes to."""
        batch.stream = stream
        out: list[tuple[str, Batch]] = []

        async def act(part: Batch) -> None:
            part.stream = stream
            results, rejects = await self._process(part)
            for result in results:
                _check(result)
            out.extend((self._goes_to(result, part, stream), result) for result in results)
            if rejects:
                raise Rejected(rejects)

        if self.feeder is None:
            await self.resolver.resolve(batch, epochs, act)
        else:
            await self.feeder.feed(batch, stream, epochs, act)
        self._metrics.events.inc(len(batch))
        if self.resolver.outlet.leaving:
            for goes_to, result in out:
                self.resolver.outlet.leaves(goes_to, result)
        return out

    def _goes_to(self, result: Batch, given: Batch, stream: str) -> str:
        if result is given or result.stream is None:
            return self.output or stream
        return result.stream

    async def _process(self, batch: Batch) -> tuple[list[Batch], dict[int, Reject]]:
        """Results and rejects. Rows named by a raised Rejected are left out of the next call."""
        rejects: dict[int, Reject] = {}
        rows: Sequence[int] = range(len(batch))
        while rows:
            part = batch if len(rows) == len(batch) else batch.take(rows)
            part.stream = batch.stream
            try:
                results, refused = await self._call(part)
            except Rejected as error:
                if self.resolver.keeps_state:  # it may have taken half of the others
                    stage = self.resolver.stage
                    raise StateSuspect(
                        stage, f"{stage} raised instead of yielding: {error}"
                    ) from error
                if not error.rows:
                    raise Fatal("a step rejected no rows") from error
                # Raised, not yielded: nothing of this call counts, so the others go once more.
                rejects |= {rows[row]: reject for row, reject in error.rows.items()}
                rows = [row for row in rows if row not in rejects]
                let_go(error)
                continue
            return results, rejects | {rows[row]: reject for row, reject in refused.items()}
        return [], rejects

    async def _call(self, batch: Batch) -> tuple[list[Batch], dict[int, Reject]]:
        results: list[Batch] = []
        rejects: dict[int, Reject] = {}
        found = self.step.process(batch)
        for result in (await found) if inspect.isawaitable(found) else found:
            if isinstance(result, Rejects):
                rejects.update(result.rows)
            elif len(result):
                results.append(result)
        return results, rejects


class Stop(NamedTuple):
    """Where a batch comes through on one stream: a node, and whether it only taps the stream."""

    node: Node
    taps: bool


class Line(NamedTuple):
    """One stream: its nodes in order and the slots at its end."""

    stops: Sequence[Stop]
    slots: Sequence[Slot]


class TimedStep(NamedTuple):
    """A step that acts when time passes, and where its results go: a stream, from a stop on."""

    step: Timed
    stream: str
    first: int
    outlet: Outlet


class Entry(NamedTuple):
    """How a source's batches come in: what decodes them, the stream, and the stops they skip.

    Where the decoder is the source's own it is their outlet; `outlet` is for what passes it by.
    """

    decoder: Node
    stream: str
    skip: int
    codec: Codec
    outlet: Outlet


class Chain:
    """All streams of a pipeline. A stream that nobody reads swallows what is sent to it."""

    def __init__(
        self,
        lines: Mapping[str, Line],
        entries: Mapping[str, Entry],
        unread: Callable[[str, int], None],
    ) -> None:
        self._lines = lines
        self._entries = entries
        self._unread = unread

    async def enter(self, source: str, batch: Batch, epochs: Sequence[int]) -> None:
        """A batch from a source, through every step and into the slots."""
        decoder, stream, skip, codec, outlet = self._entries[source]
        if outlet.leaving and (skip or batch.decoded):
            outlet.leaves(stream, batch, codec)
        if batch.decoded:
            await self.run(stream, batch, epochs)
            return
        for goes_to, decoded in await decoder.run(batch, stream, epochs):
            await self.run(goes_to, decoded, epochs, skip if goes_to == stream else 0)

    async def resume(self, step: Step, stream: str, batch: Batch, epochs: Sequence[int]) -> None:
        """A batch that has failed in a step enters it again, and goes where it would have gone.

        Raises KeyError if the step does not read the stream.
        """
        stops = self._lines[stream].stops
        found = [at for at, stop in enumerate(stops) if stop.node.step is step]
        if not found:
            raise KeyError(stream)
        node, taps = stops[found[0]]
        if not taps:
            await self.run(stream, batch, epochs, found[0])
            return
        # What is tapped has gone on already, without it.
        for goes_to, result in await node.run(batch, stream, epochs):
            await self.run(goes_to, result, epochs)

    async def run(self, stream: str, batch: Batch, epochs: Sequence[int], first: int = 0) -> None:
        """A batch on a stream, from the given stop on."""
        line = self._lines.get(stream)
        if line is None:
            self._unread(stream, len(batch))
            return
        here = [batch]
        for node, taps in line.stops[first:]:
            after: list[Batch] = []
            for part in here:
                for goes_to, result in await node.run(part, stream, epochs):
                    if goes_to == stream and not taps:
                        after.append(result)
                    else:
                        await self.run(goes_to, result, epochs)
            here = here if taps else after
        for part in here:
            for slot in line.slots:
                slot.put(part, epochs)


def _check(batch: Batch) -> None:
    """A result whose lists do not fit each other would shift rows that it is merged with.

    Raises ValueError.
    """
    rows = len(batch)
    spanned = sum(span.rows for span in batch.spans)
    if not (len(batch.values) == len(batch.timestamps) == spanned == rows):
        raise ValueError(
            f"a step returned {len(batch.values)} values and {len(batch.timestamps)} timestamps"
            f" for {rows} offsets and spans of {spanned} rows"
        )


def decoder_for(codec: Codec, following: Any) -> Step | None:
    """The step that decodes and validates in one pass, if the step that follows can."""
    return following.typed(codec) if isinstance(following, Typed) else None
