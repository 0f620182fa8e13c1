"""Every policy, error class and attempt in one table."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamd.api import (
    DeadLetter,
    Drop,
    Duration,
    Fatal,
    Misconfigured,
    Pause,
    Permanent,
    Policy,
    Reject,
    Rejected,
    Retry,
    Retryable,
    Split,
    Stop,
)
from streamd.testing import stage_context
from streamd.testing.contracts import PolicyContract, PolicySubject
from streamd.testing.contracts.policy import failure
from streamd_policies import (
    BlockPolicy,
    DeadLetterPolicy,
    DropPolicy,
    RetryPolicy,
    StopPolicy,
    streamd_plugins,
)

RETRYABLE = Retryable("connection refused")
REJECTED = Rejected({0: Reject("too_large", "too large")})
PERMANENT = Permanent("cannot parse")
MISCONFIGURED = Misconfigured("no such table")
FATAL = Fatal("lost its lock")
BUG = KeyError("id")

BURIED = DeadLetter("dead_letters")


def make(cls: type, **settings: Any) -> Any:
    return cls(cls.Config(**settings), stage_context("policy"))  # type: ignore[attr-defined]


class MadeBy(PolicySubject):
    def __init__(self, cls: type, **settings: Any) -> None:
        self.cls, self.settings = cls, settings
        self.emits = cls.Config(**settings).emits("stage")  # type: ignore[attr-defined]

    def make(self) -> Policy:
        policy: Policy = make(self.cls, **self.settings)
        return policy


class TestContract(PolicyContract):
    @pytest.fixture(
        params=[
            MadeBy(RetryPolicy),
            MadeBy(RetryPolicy, jitter=True, factor=100.0, max_retries=10**9),
            MadeBy(DeadLetterPolicy),
            MadeBy(BlockPolicy),
            MadeBy(BlockPolicy, jitter=True),
            MadeBy(DropPolicy),
            MadeBy(StopPolicy),
        ],
        ids=lambda subject: f"{subject.cls.__name__}{subject.settings or ''}",
    )
    def subject(self, request: pytest.FixtureRequest) -> MadeBy:
        subject: MadeBy = request.param
        return subject


@pytest.mark.parametrize(
    ("error", "verdicts"),
    [
        (RETRYABLE, [Retry(2.0), Retry(4.0), Retry(8.0), None, None]),
        (BUG, [Retry(2.0), Retry(4.0), Retry(8.0), None, None]),
        (REJECTED, [None] * 5),
        (PERMANENT, [None] * 5),
        (MISCONFIGURED, [None] * 5),
        (FATAL, [None] * 5),
    ],
)
def test_retry_by_default(error: Exception, verdicts: list[Any]) -> None:
    policy = make(RetryPolicy)
    assert [policy.decide(failure(error, attempt=n)) for n in range(1, 6)] == verdicts


@pytest.mark.parametrize(
    ("error", "rows", "verdict"),
    [
        (RETRYABLE, 1, BURIED),
        (RETRYABLE, 9, BURIED),
        (BUG, 9, BURIED),
        (REJECTED, 1, BURIED),
        (PERMANENT, 2, Split()),
        (PERMANENT, 1, BURIED),
        (MISCONFIGURED, 9, Pause()),
        (MISCONFIGURED, 1, Pause()),
        (FATAL, 1, None),
    ],
)
@pytest.mark.parametrize("attempt", [1, 4, 1000])
def test_dead_letter(error: Exception, rows: int, verdict: Any, attempt: int) -> None:
    decided = make(DeadLetterPolicy).decide(failure(error, rows=rows, attempt=attempt))
    assert decided == verdict


@pytest.mark.parametrize(
    ("error", "rows", "verdicts"),
    [
        (RETRYABLE, 9, [Retry(1.0), Retry(2.0), Retry(4.0), Retry(8.0), Retry(16.0), Retry(30.0)]),
        (BUG, 9, [Retry(1.0), Retry(2.0), Retry(4.0), Retry(8.0), Retry(16.0), Retry(30.0)]),
        (REJECTED, 1, [Pause(30.0)] * 6),
        (PERMANENT, 9, [Split()] * 6),
        (PERMANENT, 1, [Pause(30.0)] * 6),
        (MISCONFIGURED, 9, [Pause(30.0)] * 6),
        (FATAL, 1, [None] * 6),
    ],
)
def test_block(error: Exception, rows: int, verdicts: list[Any]) -> None:
    policy = make(BlockPolicy)
    decided = [policy.decide(failure(error, rows=rows, attempt=n)) for n in range(1, 7)]
    assert decided == verdicts


@pytest.mark.parametrize(
    ("error", "rows", "verdict"),
    [
        (RETRYABLE, 9, Drop("retryable")),
        (BUG, 9, Drop("bug")),
        (REJECTED, 1, Drop("rejected")),
        (PERMANENT, 9, Split()),
        (PERMANENT, 1, Drop("permanent")),
        (MISCONFIGURED, 9, Pause()),
        (FATAL, 1, None),
    ],
)
@pytest.mark.parametrize("attempt", [1, 4, 1000])
def test_drop(error: Exception, rows: int, verdict: Any, attempt: int) -> None:
    assert make(DropPolicy).decide(failure(error, rows=rows, attempt=attempt)) == verdict


def test_drop_even_what_a_person_could_mend() -> None:
    policy = make(DropPolicy, misconfigured="drop")
    assert policy.decide(failure(MISCONFIGURED, rows=9)) == Drop("misconfigured")


@pytest.mark.parametrize("error", [RETRYABLE, BUG, REJECTED, PERMANENT, MISCONFIGURED, FATAL])
def test_stop(error: Exception) -> None:
    verdict = make(StopPolicy).decide(failure(error, rows=9))
    assert verdict == Stop(f"{type(error).__name__}: {error}")


def test_no_retries_at_all() -> None:
    assert make(RetryPolicy, max_retries=0).decide(failure(RETRYABLE)) is None


def test_delays_grow_to_their_limit() -> None:
    policy = make(
        RetryPolicy,
        max_retries=100,
        initial=Duration("500ms"),
        factor=3.0,
        max_delay=Duration("10s"),
    )
    delays = [policy.decide(failure(RETRYABLE, attempt=n)).delay for n in range(1, 8)]
    assert delays == [0.5, 1.5, 4.5, 10.0, 10.0, 10.0, 10.0]


@pytest.mark.parametrize(
    ("after", "delay"), [(0.5, 2.0), (7.0, 7.0), (120.0, 120.0), (1e12, 3600.0), (-5.0, 2.0)]
)
def test_the_other_sides_wish_is_followed(after: float, delay: float) -> None:
    error = Retryable("slow down", after=after)
    assert make(RetryPolicy).decide(failure(error)) == Retry(delay)
    assert make(BlockPolicy, initial=Duration("2s")).decide(failure(error)) == Retry(delay)


def test_jitter_spreads_over_the_whole_delay() -> None:
    policy = make(BlockPolicy, jitter=True, initial=Duration("10s"), factor=1.0)
    delays = [policy.decide(failure(RETRYABLE, attempt=n)).delay for n in range(1, 501)]
    assert all(0 <= delay < 10 for delay in delays)
    assert len(set(delays)) == 500
    quarters = [sum(low <= delay < low + 2.5 for delay in delays) for low in (0, 2.5, 5, 7.5)]
    assert min(quarters) > 75


def test_jitter_differs_by_stage() -> None:
    policy = make(BlockPolicy, jitter=True)
    one = failure(RETRYABLE)
    other = msgspec.structs.replace(one, stage="other")
    assert policy.decide(one) != policy.decide(other)


def test_dead_letters_need_a_reader() -> None:
    unread = msgspec.structs.replace(failure(RETRYABLE), readable=frozenset({"main"}))
    assert make(DeadLetterPolicy).decide(unread) is None


def test_dead_letters_into_a_stream_of_ones_own() -> None:
    policy = make(DeadLetterPolicy, stream="quarantine")
    case = msgspec.structs.replace(failure(REJECTED), readable=frozenset({"quarantine"}))
    assert policy.decide(case) == DeadLetter("quarantine")
    assert DeadLetterPolicy.Config(stream="quarantine").emits("sink") == ("quarantine",)


@pytest.mark.parametrize(
    "settings", [{"max_retries": -1}, {"factor": 0.5}, {"factor": 101}, {"stream": 1}, {"tries": 3}]
)
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(settings, RetryPolicy.Config)


def test_offers_its_policies() -> None:
    offered = {(plugin.role, plugin.name) for plugin in streamd_plugins()}
    names = ("retry", "dead_letter", "block", "drop", "stop")
    assert offered == {("policy", name) for name in names}
