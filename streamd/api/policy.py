"""Failures and the verdicts that policies give on them. All of it is data; the engine acts."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from msgspec import Struct

from streamd.api.batch import Batch

DEAD_LETTERS = "dead_letters"


class Failure(Struct, frozen=True):
    """A batch that a stage could not process.

    `batch` holds only the rows that failed. `attempt` counts the tries so far, 1 after the first
    failure. `elapsed` is the time in seconds since the first failure of this batch. `error` is
    one of `streamd.api.errors` or, if the stage has a bug, anything else.
    `readable` names the streams that some stage of the pipeline reads.
    """

    pipeline: str
    stage: str
    role: str
    batch: Batch
    error: Exception
    attempt: int
    elapsed: float = 0.0
    readable: frozenset[str] = frozenset()


class Retry(Struct, frozen=True):
    """Try the same rows again after `delay` seconds. The stage takes no other batch meanwhile."""

    delay: float


class Split(Struct, frozen=True):
    """Try both halves by themselves; a batch of one row cannot be split. Costs no attempt."""


class DeadLetter(Struct, frozen=True):
    """Send the rows with their error into a stream; they are done when its readers have them."""

    stream: str = DEAD_LETTERS


class Drop(Struct, frozen=True):
    """Forget the rows; they are counted under `reason` and are done."""

    reason: str


class Pause(Struct, frozen=True):
    """Wait for a person: report the stage as unhealthy and try again every `delay` seconds."""

    delay: float = 30.0


class Stop(Struct, frozen=True):
    """Stop the pipeline without committing the rows."""

    reason: str


Verdict = Retry | Split | DeadLetter | Drop | Pause | Stop


@runtime_checkable
class Policy(Protocol):
    """Decides what happens to a failed batch. Pure: no I/O, no clock, no state between calls."""

    def decide(self, failure: Failure) -> Verdict | None:
        """The verdict, or None to leave the failure to the next policy in the list."""
        ...
