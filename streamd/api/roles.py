"""The roles a plugin can play, as small protocols, and the optional powers of a stage.

Every stage is built by `cls(config, context)`, which does no I/O and may raise `ConfigError`, is
entered as an async context manager (which connects; leaving it undoes that), and is then called
once per batch, never from two tasks at a time. A stage sees no acks and no epochs: what it cannot
touch it cannot forget.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, runtime_checkable

from msgspec import Struct

from streamd.api.batch import Batch
from streamd.api.errors import Reject


class Rejects(Struct, frozen=True):
    """What a step yields for rows of its input that it refuses: row number to reason."""

    rows: Mapping[int, Reject]


class Stage(Protocol):
    """What every source, step and sink is."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...


class Codec(Protocol):
    """Turns bytes into events and back. Pure and synchronous; built by `cls(config, context)`.

    `content_type` is a media type, `extension` the ending of a file of such events (".json").
    """

    content_type: str
    extension: str

    def decode(self, raws: Sequence[bytes | None]) -> tuple[list[Any], dict[int, Reject]]:
        """One value per record, and why records could not be decoded (their value is None)."""
        ...

    def encode(self, values: Sequence[Any]) -> list[bytes]:
        """One record per event.

        Raises Rejected naming the rows that cannot be encoded.
        """
        ...


class Source(Stage, Protocol):
    """Where events come from.

    `resumes` tells whether a position means anything after a restart: the engine checkpoints the
    positions of a source only if it does.
    """

    resumes: bool

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        """What has arrived: at most about `max_events`, one batch per partition.

        Waits up to `timeout` seconds for the first event; an empty list is no error. Offsets of a
        partition ascend from poll to poll. The engine may stop calling while it is full.

        Raises Retryable if the other side is unreachable (the engine polls again later).
        """
        ...

    async def commit(self, positions: Mapping[str, int], tag: str) -> None:
        """Everything before these positions (the next event to read) is stored for good.

        `tag` identifies the checkpoint; a source whose broker stores metadata with a position
        stores it and gives it back in `Committed`. A commit that the broker refuses because the
        partition has moved away is not an error.
        """
        ...


class Step(Stage, Protocol):
    """A validator, transform or window."""

    def process(
        self, batch: Batch
    ) -> Iterable[Batch | Rejects] | Awaitable[Iterable[Batch | Rejects]]:
        """The batches that come of this one, and what is refused of it.

        On entry `batch.stream` is the stream it was read from. A result whose `stream` is None
        (and the very batch that came in) goes to the stage's own output. The engine exhausts the
        result at once. An error means that nothing of the batch is done.
        """
        ...


class Sink(Stage, Protocol):
    """Where events go."""

    batch: ClassVar[BatchLimits]

    async def write(self, batch: Batch) -> None:
        """Deliver every row. Returning means that all of it is stored.

        Raises Rejected (exactly these rows are not stored, for good), Retryable, Permanent or
        Misconfigured (nothing, or an unknown part, is stored).
        """
        ...


class BatchLimits(Struct, frozen=True):
    """How much the engine gathers for one write: whichever limit is reached first.

    `rows` and `bytes` (as they arrived) bound a write, `time` is how long in seconds the first
    row may wait for more; 0 writes what is there.
    """

    rows: int = 1000
    bytes: int = 16 * 1024 * 1024
    time: float = 0.0


# --- optional powers, found by isinstance ---------------------------------------------------


@runtime_checkable
class Probe(Protocol):
    """A stage that can tell whether it would work. Serves `streamd check --connect`."""

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
    """A sink that can count what it holds. Serves `dlq_backlog_size`."""

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


class Committed(NamedTuple):
    """What a broker remembers of a partition: the next position, and the tag of the commit."""

    position: int
    tag: str


class Control(Protocol):
    """The engine's side of a source, as `context.control`."""

    async def assigned(self, partitions: Mapping[str, Committed | None]) -> dict[str, int | None]:
        """Partitions that the source now reads, with what the broker remembers of each.

        Restores their state and returns where to resume each (None: at the source's own start).
        Call it before the first event of a partition is returned by poll; never from a callback
        that poll waits for.
        """
        ...

    async def revoking(self, partitions: Collection[str]) -> None:
        """These partitions are about to move away: returns once what is in flight is committed
        (`Source.commit` is called meanwhile) or the bounded wait is over. Then they are ours no
        longer. May be called from another task while poll waits."""
        ...

    async def lost(self, partitions: Collection[str]) -> None:
        """These partitions have moved away already: nothing of them may be committed."""
        ...
