"""What a stage raises to say how a batch failed, and how a row was rejected.

No error means that every row is done. `Rejected` means that exactly the named rows are not done.
Any other error means that no row is done. An error of no class below is a bug in the stage: it
is logged with its traceback and then goes to the policies like any other.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class Violation(Struct, frozen=True):
    """One rule that an event breaks: where (a JSON path such as `$.payload.tags[3]`) and how."""

    path: str
    message: str


class Reject(Struct, frozen=True):
    """Why one row is refused for good.

    `reason` is a short label out of a small fixed set (it becomes a metric label), `message` is
    for people. `error_type` names the exception that stands for it in a dead letter.
    """

    reason: str
    message: str
    violations: tuple[Violation, ...] = ()
    error_type: str = "ValueError"
    traceback: str = ""


class StreamdError(Exception):
    """Base of the errors that a stage raises on purpose."""


class Retryable(StreamdError):
    """The same batch may succeed later: a time-out, a lost connection, a server that is down.

    `after` is how long the other side asked to wait, in seconds; None leaves it to the policy.
    """

    def __init__(self, message: str, *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Permanent(StreamdError):
    """The batch cannot succeed as it is, and nothing tells which row is to blame.

    The engine bisects such a batch until the rows to blame stand alone.
    """


class Misconfigured(StreamdError):
    """No batch can succeed before a person acts: bad credentials, a missing table or topic."""


class Fatal(StreamdError):
    """The stage cannot go on; the pipeline stops or restarts from its checkpoint."""


class Rejected(StreamdError):
    """Exactly these rows failed, for good; every other row of the batch is done."""

    def __init__(self, rows: Mapping[int, Reject]) -> None:
        first = next(iter(rows.values()), None)
        super().__init__(f"{len(rows)} rows rejected, the first: {first.message if first else ''}")
        self.rows = dict(rows)


class ConfigError(StreamdError):
    """A setting is wrong in a way that only the stage can see.

    Raised by the constructor of a stage (which does no I/O); `path` is the key within the stage's
    table, such as `columns.id`, so that the error can be shown with its line. `also` is another
    key that it does not go together with.
    """

    def __init__(self, message: str, *, path: str = "", also: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.also = also
