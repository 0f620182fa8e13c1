"""Acting on a batch until every row of it is done, whatever fails on the way.

Steps and sinks fail alike: a `Failure` goes to the stage's policies in order, the first verdict
wins, and the engine carries it out. The policies decide, this module sleeps and routes.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio

from streamd.api import (
    Batch,
    DeadLetter,
    Drop,
    Failure,
    Fatal,
    Logger,
    Misconfigured,
    Pause,
    Permanent,
    Policy,
    Rejected,
    Retry,
    Retryable,
    Split,
    Stop,
    StreamdError,
    Verdict,
)
from streamd.engine.frames import let_go
from streamd.engine.tap import Outlet
from streamd.telemetry.metrics import StageMetrics

SPILL = "streamd.spill"
"""The way of a dead letter that its own sink refuses: a file under state_dir, never a stream."""

_BLOCK_FIRST, _BLOCK_MOST, _ASKED_MOST = 1.0, 30.0, 3600.0
MISCONFIGURED_DELAY = 30.0
_REMEMBERED = 30.0


class PipelineStopped(Exception):  # noqa: N818
    """A policy's verdict: the pipeline stops and its rows stay uncommitted."""


class StateSuspect(Exception):  # noqa: N818
    """A step that keeps state failed half-way: only the checkpoint is to be trusted now.

    `again_in` is when the pipeline is to start again (seconds), None: as after any failure.
    """

    def __init__(self, stage: str, message: str, again_in: float | None = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.again_in = again_in


@dataclass(slots=True)
class Health:
    """Whether a stage gets on. `since` is in the event loop's time."""

    since: float = 0.0
    _reason: str | None = None
    _until: float = math.inf

    @property
    def reason(self) -> str | None:
        """Why it does not get on, or None."""
        return self._reason if anyio.current_time() < self._until else None

    def ill(self, reason: str) -> None:
        if self.reason is None:
            self.since = anyio.current_time()
        self._reason, self._until = reason, math.inf

    def gave_up(self, reason: str) -> None:
        """What failed is not tried again, which makes nothing well: the next batch may tell.

        If none comes it is forgotten: who sends only to what is ready must begin at some time.
        """
        self.ill(reason)
        self._until = anyio.current_time() + _REMEMBERED

    def well(self) -> None:
        self._reason = None


@dataclass(slots=True)
class _Work:
    batch: Batch
    attempt: int = 0
    started: float | None = None


Act = Callable[[Batch], Awaitable[None]]
Bury = Callable[[str, Failure, Sequence[int]], Awaitable[None]]
Forgive = Callable[[Failure, Sequence[int]], bool]


@dataclass(slots=True)
class Resolver:
    """One stage's way with failures.

    `bury` routes the rows of a failure into a stream, as dead letters. `forgive` is asked about
    rejected rows first and returns whether the source takes them back (an HTTP client is told).
    `sleep` waits, and keeps the sources alive where the stage runs on their task. `buries_into`
    is where dead letters of this stage go whatever its policies name.
    """

    pipeline: str
    stage: str
    role: str
    policies: Sequence[Policy]
    readable: frozenset[str]
    bury: Bury
    forgive: Forgive
    dropped: Callable[[Failure, Sequence[int], str], None]
    metrics: StageMetrics
    log: Logger
    outlet: Outlet
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    keeps_state: bool = False
    buries_into: str | None = None
    health: Health = field(default_factory=Health)

    async def resolve(self, batch: Batch, epochs: Sequence[int], act: Act) -> None:
        """Returns when each row was acted on, dead-lettered or dropped.

        Raises PipelineStopped or StateSuspect where the pipeline cannot go on.
        """
        stack = [_Work(batch)]
        while stack:
            work = stack.pop()
            work.attempt += 1
            try:
                await act(work.batch)
            except Rejected as error:
                stack += await self._rejected(work, error, epochs)
                let_go(error)
            except Exception as error:
                if isinstance(error, PipelineStopped | StateSuspect):
                    raise
                stack += await self._failed(work, error, epochs)
                let_go(error)
            else:
                self.health.well()

    async def _rejected(self, work: _Work, error: Rejected, epochs: Sequence[int]) -> list[_Work]:
        rows = sorted(row for row in error.rows if 0 <= row < len(work.batch))
        if len(rows) != len(error.rows) or not rows:
            raise Fatal(f"{self.stage} rejected rows that it was not given") from error
        named = Rejected({new: error.rows[row] for new, row in enumerate(rows)})
        batch = work.batch.take(rows, stream=work.batch.stream)
        refused = _Work(batch, work.attempt, work.started)
        self.metrics.rejected(named)
        failure = self._failure(refused, named)
        if self.forgive(failure, epochs):
            self.outlet.refuses(failure)
            self.health.well()
            return []
        return await self._carry_out(self._judge(failure), failure, refused, epochs)

    async def _failed(self, work: _Work, error: Exception, epochs: Sequence[int]) -> list[_Work]:
        if isinstance(error, Fatal):
            raise error
        if not isinstance(error, StreamdError) and work.attempt == 1:
            self.log.error("Stage failed with an error that it does not declare", exc_info=error)
        if self.keeps_state:
            raise StateSuspect(self.stage, f"{self.stage}: {error}") from error
        failure = self._failure(work, error)
        return await self._carry_out(self._judge(failure), failure, work, epochs)

    def verdict_on(self, batch: Batch, error: Exception, attempt: int, elapsed: float) -> Verdict:
        """What the policies say of a failure that was not seen here; nothing is done about it."""
        started = anyio.current_time() - elapsed
        return self._judge(self._failure(_Work(batch, attempt, started), error))

    async def give_up(
        self,
        batch: Batch,
        error: Exception,
        attempts: int,
        verdict: DeadLetter | Drop,
        epochs: Sequence[int],
    ) -> None:
        """Do with a batch what was decided about it after so many attempts."""
        work = _Work(batch, attempts)
        await self._carry_out(verdict, self._failure(work, error), work, epochs)

    def _failure(self, work: _Work, error: Exception) -> Failure:
        now = anyio.current_time()
        if work.started is None:
            work.started = now
        return Failure(
            pipeline=self.pipeline,
            stage=self.stage,
            role=self.role,
            batch=work.batch,
            error=error,
            attempt=work.attempt,
            elapsed=now - work.started,
            readable=self.readable,
        )

    def _judge(self, failure: Failure) -> Verdict:
        for policy in self.policies:
            verdict = policy.decide(failure)
            if isinstance(verdict, Split) and len(failure.batch) < 2:
                continue
            if verdict is not None:
                return verdict
        return last_resort(failure)

    async def _carry_out(
        self, verdict: Verdict, failure: Failure, work: _Work, epochs: Sequence[int]
    ) -> list[_Work]:
        rows = len(failure.batch)
        match verdict:
            case Retry(delay):
                await self._wait("Will try again", failure, delay)
                return [work]
            case Pause(delay):
                await self._wait("Paused until somebody acts", failure, delay)
                work.attempt -= 1
                return [work]
            case Split():
                half = rows // 2
                first, second = range(half), range(half, rows)
                spent = work.attempt - 1
                return [
                    _Work(work.batch.take(second), spent, work.started),
                    _Work(work.batch.take(first), spent, work.started),
                ]
            case DeadLetter(stream):
                self.outlet.refuses(failure)
                await self.bury(self.buries_into or stream, failure, epochs)
            case Drop(reason):
                self.outlet.refuses(failure)
                self.dropped(failure, epochs, reason)
            case Stop(reason):
                raise PipelineStopped(f"{self.stage}: {reason}") from failure.error
            case _:
                raise Fatal(f"{self.stage}: a policy answered {verdict!r}, which is no verdict")
        if isinstance(failure.error, Rejected | Permanent):
            self.health.well()
        else:
            self.health.gave_up(str(failure.error))
        return []

    async def _wait(self, message: str, failure: Failure, delay: float) -> None:
        self.health.ill(str(failure.error))
        self.metrics.retried(len(failure.batch))
        self.log.warning(
            message,
            rows=len(failure.batch),
            attempt=failure.attempt,
            delay=round(delay, 3),
            error=str(failure.error) or type(failure.error).__name__,
        )
        await self.sleep(delay)


def last_resort(failure: Failure) -> Verdict:
    """What happens where no policy has an answer: never lose, never go on past it."""
    if isinstance(failure.error, Misconfigured | Rejected):
        return Pause(MISCONFIGURED_DELAY)
    return Retry(backoff(failure.attempt))


def backoff(attempt: int, after: float | None = None) -> float:
    """Seconds to wait after the given number of tries, growing to half a minute; or what the
    other side asked for, as far as it makes sense."""
    if after is not None:
        return min(_ASKED_MOST, max(_BLOCK_FIRST, after))
    return min(_BLOCK_MOST, _BLOCK_FIRST * 2.0 ** min(attempt - 1, 10))


class DeadLetterReader:
    """The policy of a sink that reads dead letters: wait for it, never bury a dead letter again.

    What it refuses for good goes, fsynced, to a file under state_dir.
    """

    def decide(self, failure: Failure) -> Verdict | None:
        match failure.error:
            case Rejected():
                return DeadLetter(SPILL)
            case Permanent():
                return Split() if len(failure.batch) > 1 else DeadLetter(SPILL)
            case Retryable() as error:
                return Retry(backoff(failure.attempt, error.after))
            case Misconfigured():
                return Pause(MISCONFIGURED_DELAY)
            case _:
                return Retry(backoff(failure.attempt))
