"""Feeding a step that keeps state: one event at a time where it has failed."""

from __future__ import annotations

import hashlib
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import anyio
import msgspec

from streamd.api import Batch, DeadLetter, Drop, Fatal, Pause, Rejected, Retry, Stop
from streamd.engine.dead_letter import reject_of
from streamd.engine.failure import Act, PipelineStopped, Resolver, StateSuspect
from streamd.engine.plain import plain
from streamd.engine.suspects import ANYWHERE, Record, Suspect, Suspects

_FIRST_PAUSE = 1.0
"""Seconds until the next life looks for the event among those that the step has failed on."""

_FILLED_IN = ("id", "timestamp")
"""Fields that a source may fill in where a client gave none: another value each time."""


class Feeder:
    """How one step that keeps state gets its batches.

    `comes_again` tells of a partition whether its events have the same places in the next life.
    `settled` waits, not for ever, until what came before is stored, so that the next life begins
    near the event that is looked for.
    """

    def __init__(
        self,
        resolver: Resolver,
        suspects: Suspects,
        comes_again: Callable[[str], bool],
        settled: Callable[[], Awaitable[None]],
    ) -> None:
        self._resolver = resolver
        self._step = resolver.stage
        self._suspects = suspects
        self._comes_again = comes_again
        self._settled = settled

    async def feed(self, batch: Batch, stream: str, epochs: Sequence[int], act: Act) -> None:
        """Returns when the step has taken each event, but for those that are set aside.

        Raises StateSuspect or PipelineStopped where the step fails.
        """
        if self._suspects.careful(self._step, batch.spans, anyio.current_time()):
            await self._one_by_one(batch, stream, epochs, act)
            return
        try:
            await self._resolver.resolve(batch, epochs, act)
        except StateSuspect as error:
            error.again_in = _FIRST_PAUSE
            upto = {
                s.partition: s.stop if self._comes_again(s.partition) else ANYWHERE
                for s in batch.spans
            }
            self._suspects.failed(self._step, upto, anyio.current_time())
            await self._settled()
            raise

    async def _one_by_one(self, batch: Batch, stream: str, epochs: Sequence[int], act: Act) -> None:
        for row, suspect in enumerate(self._suspects_of(batch, stream)):
            part = batch.take([row], stream=stream)
            record = self._suspects.set_aside(suspect, max(epochs))
            if record is not None:
                await self._set_aside(part, record, epochs)
                continue
            try:
                await self._resolver.resolve(part, epochs, act)
            except StateSuspect as error:
                cause = error.__cause__
                assert isinstance(cause, Exception)
                ends = self._judge(part, suspect, cause)
                await self._settled()
                raise ends from cause
            self._suspects.went_well(self._step)
        self._suspects.took(self._step, batch.spans)

    async def _set_aside(self, part: Batch, record: Record, epochs: Sequence[int]) -> None:
        assert record.reject is not None
        error = Rejected({0: record.reject})
        if record.verdict is not None:
            await self._resolver.give_up(part, error, record.attempts, record.verdict, epochs)
            return

        async def refuse(_part: Batch) -> None:
            raise error

        await self._resolver.resolve(part, epochs, refuse)

    def _judge(self, part: Batch, suspect: Suspect, error: Exception) -> Exception:
        """What is to end this life, after the policies were asked about the event."""
        now = anyio.current_time()
        record = self._suspects.failed_on(suspect, now)
        verdict = None
        if not isinstance(error, Rejected):  # where it refused the event, they are asked later
            verdict = self._resolver.verdict_on(part, error, record.attempts, now - record.since)
        match verdict:
            case Retry(delay) | Pause(delay):
                return self._suspect(error, again_in=delay)
            case Stop(reason):
                return PipelineStopped(f"{self._step}: {reason}")
            case None | DeadLetter() | Drop():
                return self._give_up(part, suspect, record, error, verdict)
        return Fatal(f"{self._step}: a policy answered {verdict!r}, which is no verdict")

    def _give_up(
        self,
        part: Batch,
        suspect: Suspect,
        record: Record,
        error: Exception,
        verdict: DeadLetter | Drop | None,
    ) -> Exception:
        now = anyio.current_time()
        if not self._suspects.may_give_up(self._step, now):
            return StateSuspect(
                self._step,
                f"{self._step} fails on one event after the other, so it may not be the events:"
                f" {error}",
            )
        record.reject = reject_of(error)
        if isinstance(error, Rejected):
            record.rejected, record.reject = True, error.rows.get(0, record.reject)
        record.verdict = verdict
        self._suspects.given_up(suspect, now)
        partition, offset = part.locate(0)
        self._resolver.log.warning(
            "A step that keeps state fails on an event, which is set aside",
            partition=partition,
            offset=offset,
            attempts=record.attempts,
            error=str(error) or type(error).__name__,
        )
        return self._suspect(error, again_in=0.0)

    def _suspect(self, error: Exception, again_in: float) -> StateSuspect:
        return StateSuspect(self._step, f"{self._step}: {error}", again_in)

    def _suspects_of(self, batch: Batch, stream: str) -> Iterator[Suspect]:
        """The name of each row."""
        seen: Tally[tuple[str, int]] = Tally()
        row = 0
        for span in batch.spans:
            placed = self._comes_again(span.partition)
            for _ in range(span.rows):
                place = (span.partition, batch.offsets[row])
                if placed:
                    yield Suspect(self._step, stream, place, seen[place])
                    seen[place] += 1
                else:
                    yield Suspect(self._step, stream, _content(batch, row), 0)
                row += 1


def _content(batch: Batch, row: int) -> str:
    """A digest of what the client sent, the same when it sends the event again."""
    raw: Any = batch.raws[row] if batch.raws is not None else None
    value = plain(batch.values[row]) if batch.decoded else repr(raw)
    if isinstance(value, dict):
        value = {name: item for name, item in value.items() if name not in _FILLED_IN}
    text = msgspec.json.encode(value)  # where each key becomes a text: only such can be sorted
    encoded = msgspec.json.encode(msgspec.json.decode(text), order="sorted")
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()
