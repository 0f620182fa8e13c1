"""What is known of steps that keep state and fail: it outlives the lives that they end.

Such a step cannot be tried again where it failed, since its state is torn. So the pipeline starts
again from its checkpoint, and the step gets its events one at a time until it has passed what it
failed on: there the one to blame stands alone. Once the policies give that event up it is set
aside, in the next life, before the step sees it. All this is in memory: a new process finds the
event again in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streamd.api import DeadLetter, Drop, Reject, Span

CAREFUL_FOR = 300.0
"""Seconds after a failure in which the sources are read in small sips, and in which a step gets
events one at a time whose places do not tell whether it has passed what it failed on."""

MOST_IN_A_ROW = 10
"""Events given up one after the other, none going well between, that are no reason to doubt the
step itself."""

THEN_EVERY = 60.0
"""Seconds between one event given up and the next, after that many."""

_REMEMBERED_FOR = 3600.0


ANYWHERE = 1 << 62
"""The position that stands for all of a partition whose places do not last."""


class Suspect(NamedTuple):
    """One event on its way into a step: by its place, or by what it holds where its source gives
    it another place when it comes again. `nth` tells apart what was made of one event."""

    step: str
    stream: str
    what: tuple[str, int] | str
    nth: int

    @property
    def by_content(self) -> bool:
        return isinstance(self.what, str)


@dataclass(slots=True)
class Record:
    """An event that a step failed on, alone, so many times.

    `verdict` is what it is given up with. `rejected` means that the step has refused it. `epochs`
    are those of this life in which it was set aside. `times` is how often it is to be: of events
    that are known by what they hold, several may look the same. `stored` means that it was set
    aside for good, once at least.
    """

    since: float
    seen: float
    attempts: int = 0
    reject: Reject | None = None
    verdict: DeadLetter | Drop | None = None
    rejected: bool = False
    times: int = 0
    stored: bool = False
    epochs: list[int] = field(default_factory=list)

    @property
    def given_up(self) -> bool:
        return self.rejected or self.verdict is not None


@dataclass(slots=True)
class _Step:
    """`upto` is how far it gets events one at a time, by partition; `taken` how far it has taken
    all, if what it works on goes well to its end. `past` tells whether what goes well now comes
    behind the last event that was given up."""

    failed_at: float
    upto: dict[str, int] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    in_a_row: int = 0
    last: Suspect | None = None
    last_at: float = 0.0
    past: bool = True


@dataclass(slots=True)
class Suspects:
    """All that one pipeline knows of them. Times are the event loop's, in seconds."""

    _steps: dict[str, _Step] = field(default_factory=dict)
    _records: dict[Suspect, Record] = field(default_factory=dict)

    def searching(self, now: float) -> bool:
        """Whether an event is looked for, so that little should be in flight."""
        return any(s.upto and now - s.failed_at < CAREFUL_FOR for s in self._steps.values())

    def careful(self, step: str, spans: Sequence[Span], now: float) -> bool:
        """Whether the step is to get these one at a time: it has not passed what it failed on."""
        known = self._steps.get(step)
        if known is None or not known.upto:
            return False
        for span in spans:
            upto = known.upto.get(span.partition, ANYWHERE)
            over = now - known.failed_at >= CAREFUL_FOR if upto == ANYWHERE else upto <= span.start
            if over:
                known.upto.pop(span.partition, None)
        return any(span.partition in known.upto for span in spans)

    def failed(self, step: str, upto: Mapping[str, int], now: float) -> None:
        """A step has failed on something that stands before these positions."""
        known = self._steps.setdefault(step, _Step(now))
        known.failed_at = now
        for partition, position in upto.items():
            known.upto[partition] = max(position, known.upto.get(partition, position))

    def failed_on(self, suspect: Suspect, now: float) -> Record:
        """A step has failed on this event alone."""
        self._steps[suspect.step].failed_at = now
        record = self._records.setdefault(suspect, Record(now, now))
        record.seen = now
        record.attempts += 1
        return record

    def may_give_up(self, step: str, now: float) -> bool:
        """Whether it is still the event that is to blame, and not the step."""
        known = self._steps[step]
        return known.in_a_row < MOST_IN_A_ROW or now - known.last_at >= THEN_EVERY

    def given_up(self, suspect: Suspect, now: float) -> None:
        """The event's record says how from now on: the next life sets it aside, beside those that
        look the same and were set aside in this one."""
        record, known = self._records[suspect], self._steps[suspect.step]
        record.times = len(record.epochs) + 1
        known.in_a_row += 1
        known.last, known.last_at, known.past = suspect, now, False

    def set_aside(self, suspect: Suspect, epoch: int) -> Record | None:
        """How the event is to be given up, None if the step is to have it.

        What is known by its content comes again only when its life has ended before it was done.
        """
        record = self._records.get(suspect)
        if record is None or not record.given_up:
            return None
        if suspect.by_content and len(record.epochs) >= record.times:
            return None
        record.epochs.append(epoch)
        known = self._steps[suspect.step]
        known.past = known.past or known.last == suspect
        return record

    def went_well(self, step: str) -> None:
        """The step has taken an event. One that it had taken before says nothing new."""
        known = self._steps[step]
        if known.past:
            known.in_a_row = 0

    def took(self, step: str, spans: Sequence[Span]) -> None:
        """The step has taken a batch one at a time. There may be more of what the spans cover."""
        taken = self._steps[step].taken
        for span in spans:
            taken[span.partition] = max(span.stop, taken.get(span.partition, span.stop))

    def all_went_well(self) -> None:
        """Nothing is left of what was read so far: steps that have passed what they failed on,
        though nothing comes behind it, need no care any more."""
        for known in self._steps.values():
            for partition, stop in known.taken.items():
                if known.upto.get(partition, ANYWHERE) <= stop:
                    del known.upto[partition]
            known.taken.clear()

    def life_over(self, durable_epoch: int, now: float) -> None:
        """What was set aside for good, or never came again, is forgotten.

        What is known by its content is remembered for as long as the step gets events one at a
        time: its client sends it again, if with others that were not done yet.
        """
        for suspect, record in list(self._records.items()):
            if record.epochs:
                record.seen = now
                record.stored |= min(record.epochs) <= durable_epoch
                record.epochs = []
            if record.stored:
                over = not suspect.by_content or now - record.seen > CAREFUL_FOR
            else:
                over = now - record.seen > _REMEMBERED_FOR
            if over:
                del self._records[suspect]
        for known in self._steps.values():
            last = None if known.last is None else self._records.get(known.last)
            known.past = last is None or last.stored
            known.taken.clear()

    def forget(self) -> None:
        """Somebody has changed the pipeline: every event gets another chance."""
        self._records.clear()
        for known in self._steps.values():
            known.in_a_row, known.past = 0, True
            known.upto.clear()
            known.taken.clear()
