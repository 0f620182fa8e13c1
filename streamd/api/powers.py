"""Optional powers of a stage, as small protocols that the engine finds by isinstance."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from streamd.api.batch import Batch
from streamd.api.errors import Reject
from streamd.api.roles import Codec, Step


@runtime_checkable
class Probe(Protocol):
    """A stage, or a codec, that can tell whether it would work.

    Serves `streamd check --connect`.
    """

    async def healthcheck(self) -> str:
        """Connect, look, disconnect; called on a stage that is not entered. Changes nothing.

        Returns one line of what was found. Raises any StreamdError with what is wrong.
        """
        ...


@runtime_checkable
class Typed(Protocol):
    """A validator that can decode and validate in one pass."""

    def typed(self, codec: Codec) -> Step | None:
        """A step that takes undecoded batches in place of codec and validator; None if it cannot.

        The engine enters neither; the step shares the validator's life.
        """
        ...


@runtime_checkable
class Prepares(Protocol):
    """A codec that has to ask somebody else before it can work: a registry of schemas, say.

    `prepares` tells whether it does, with the settings that it has; it never changes. Both methods
    are cheap where all is known already, and what was learnt before a cancellation is kept. Sources
    that decode by themselves may call them from another task at the same time.

    They raise Retryable while there is no answer, Misconfigured where a person has to act: the
    events are then held back and the codec is asked again; no policy is asked, as it is not the
    events' fault. That the other side knows of no such thing is an answer: `decode` then rejects
    the record.
    """

    prepares: bool

    async def prepare_to_decode(self, raws: Sequence[bytes | None]) -> None:
        """Called before these records are decoded, by one call or by several."""
        ...

    async def prepare_to_encode(self, values: Sequence[Any]) -> None:
        """Called before a sink is to write these events."""
        ...


def preparing(codec: object) -> Prepares | None:
    """The codec if it has to be prepared, None if it can be called at any time."""
    return codec if isinstance(codec, Prepares) and codec.prepares else None


@runtime_checkable
class Stateful(Protocol):
    """A step that remembers. Its state is sliced by source partition, so that it can move.

    All three are called between two batches.
    """

    def assign(self, partitions: Collection[str], rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        """These partitions are ours from now on; `rows` (partition, key, value) is their state.

        Replaces what the step may hold of them.
        """
        ...

    def revoke(self, partitions: Collection[str]) -> None:
        """These partitions are no longer ours: forget their state, emit nothing for it.

        Changes that were not taken yet are dropped, and nothing is reported as gone.
        """
        ...

    def take_changes(self) -> Sequence[tuple[str, bytes, bytes | None]]:
        """What has changed since the last call: (partition, key, value or None where it is gone).

        The cost follows what changed, not what is held.
        """
        ...


@runtime_checkable
class Timed(Protocol):
    """A step that acts when time passes."""

    def tick(self, active: float) -> Iterable[Batch]:
        """Called after each poll, empty ones included, several times a second.

        `active` is in seconds and advances only while the engine is reading: it stands still
        under back-pressure, so that a held-back stream is not taken for an idle one.
        """
        ...


@runtime_checkable
class KeepsAlive(Protocol):
    """A source that must act while the engine does not poll."""

    async def keepalive(self) -> None:
        """Called about once a second under back-pressure. Must return no events and lose none."""
        ...


@runtime_checkable
class Drains(Protocol):
    """A source that has others at the other end who must be told."""

    def drain(self) -> None:
        """The engine polls no more: refuse what comes from now on, answer what was polled."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """A source that can come to an end."""

    def exhausted(self) -> bool:
        """Whether poll will never return an event again. The pipeline then drains and ends."""
        ...


@runtime_checkable
class Backlog(Protocol):
    """A sink that can count what it holds, cheaply and exactly. Serves `dlq_backlog_size`."""

    async def backlog(self) -> int:
        """How many events the sink's store holds now. Called seldom, between two writes."""
        ...


Outcome = Literal["rejected", "dead_lettered", "dropped"]


class Settlement(NamedTuple):
    """One event that was not stored as it came: why, and the id of its dead letter if any.

    `role` is that of the stage that refused it.
    """

    partition: str
    offset: int
    outcome: Outcome
    reject: Reject | None
    dead_letter_id: str | None
    role: str = ""


@runtime_checkable
class Settles(Protocol):
    """A source that answers for each event.

    `answers_rejects`: rejected events are settled as such and do not go to the policies.
    """

    answers_rejects: bool

    def waiting(self) -> bool:
        """Whether somebody waits for an answer now: the engine then closes the epoch at once."""
        ...

    def settle(self, upto: Mapping[str, int], exceptions: Sequence[Settlement]) -> None:
        """Every event before these positions is done: stored, but for the exceptions.

        An exception may be told before `upto` reaches its event.
        """
        ...
