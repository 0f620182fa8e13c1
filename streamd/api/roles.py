"""The roles a plugin can play, as small protocols. What a stage can do beside is in `powers`.

Every stage is built by `cls(config, context)`, which does no I/O and may raise `ConfigError`, is
entered as an async context manager (which connects; leaving it undoes that), and is then called
once per batch, never from two tasks at a time. A stage sees no acks and no epochs: what it cannot
touch it cannot forget.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Protocol, Self

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

    One that has to ask somebody else for what it needs has the power `Prepares` beside.
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


NOTHING_READ = "start"
"""The tag of a position that a source has committed by itself as its beginning, before any event:
no state belongs to it, so that every daemon can go on from there."""


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
