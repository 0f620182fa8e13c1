"""What every policy does.

class TestMyPolicy(PolicyContract):
    @pytest.fixture
    def subject(self) -> MySubject: ...
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cache

import pytest

from streamd.api import (
    Batch,
    ConfigError,
    DeadLetter,
    Drop,
    Failure,
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
    StreamdError,
)
from streamd.testing.batches import batch_of, sample_event


class PolicySubject(ABC):
    """How to build the policy.

    - `emits`: the streams into which it may send dead letters, as its settings' `emits` has them.
    """

    emits: tuple[str, ...] = ()

    @abstractmethod
    def make(self) -> Policy:
        """A new policy, always with the same settings."""


@cache
def _batch(rows: int) -> Batch:
    return batch_of([sample_event(number) for number in range(rows)], first=100)


def failure(
    error: Exception, *, attempt: int = 1, rows: int = 1, role: str = "sink", elapsed: float = 0.0
) -> Failure:
    """A failure of a batch of `rows` events."""
    return Failure(
        pipeline="test",
        stage="stage",
        role=role,
        batch=_batch(rows),
        error=error,
        attempt=attempt,
        elapsed=elapsed,
        readable=frozenset({"main", "dead_letters"}),
    )


def every_error(rows: int = 1) -> list[Exception]:
    """One error of each class that a stage may raise, and some that are bugs."""
    return [
        Retryable("connection refused"),
        Retryable("slow down", after=7.5),
        Rejected({row: Reject("too_large", "row is too large") for row in range(rows)}),
        Permanent("cannot parse input"),
        Misconfigured("no such table"),
        Fatal("lost its lock"),
        ConfigError("bad setting", path="topic"),
        StreamdError("of no class"),
        ValueError("a bug"),
        KeyError("id"),
        OSError(5, "input/output error"),
        Exception(),
    ]


def every_failure() -> Iterator[Failure]:
    """Every error class at many attempts, for batches of one and of many rows."""
    for rows in (1, 2, 1000):
        for attempt in (1, 2, 3, 4, 5, 10, 1000, 10**9):
            for role in ("transform", "sink"):
                for error in every_error(rows):
                    yield failure(error, attempt=attempt, rows=rows, role=role, elapsed=attempt * 2)


class PolicyContract:
    """Inherit it and give the fixture `subject`."""

    @pytest.fixture
    def subject(self) -> PolicySubject:
        raise NotImplementedError("override the fixture `subject`")

    def test_answers_every_failure(self, subject: PolicySubject) -> None:
        policy = subject.make()
        known = (Retry, Split, DeadLetter, Drop, Pause, Stop)
        for case in every_failure():
            verdict = policy.decide(case)
            assert verdict is None or isinstance(verdict, known), case

    def test_same_failure_same_verdict(self, subject: PolicySubject) -> None:
        one, other = subject.make(), subject.make()
        cases = list(every_failure())
        forward = [one.decide(case) for case in cases]
        backward = [other.decide(case) for case in reversed(cases)]
        assert forward == list(reversed(backward)), "a policy keeps nothing between two calls"

    def test_does_not_change_the_failure(self, subject: PolicySubject) -> None:
        policy = subject.make()
        for error in every_error(3):
            case = failure(error, rows=3)
            before = copy.deepcopy((case.batch.values, case.batch.spans, error.args, vars(error)))
            policy.decide(case)
            assert (case.batch.values, case.batch.spans, error.args, vars(error)) == before

    def test_delays_are_finite(self, subject: PolicySubject) -> None:
        policy = subject.make()
        for case in every_failure():
            verdict = policy.decide(case)
            if isinstance(verdict, Retry | Pause):
                assert 0 <= verdict.delay < math.inf, case

    def test_splits_only_what_can_be_split(self, subject: PolicySubject) -> None:
        policy = subject.make()
        for case in every_failure():
            if isinstance(policy.decide(case), Split):
                assert len(case.batch) > 1
                assert isinstance(case.error, Permanent), "only there bisecting finds the rows"

    def test_rejected_rows_are_not_retried(self, subject: PolicySubject) -> None:
        policy = subject.make()
        for attempt in (1, 2, 50):
            verdict = policy.decide(failure(Rejected({0: Reject("bad", "bad")}), attempt=attempt))
            assert not isinstance(verdict, Retry | Split)

    def test_misconfiguration_costs_no_event(self, subject: PolicySubject) -> None:
        policy = subject.make()
        for rows in (1, 100):
            verdict = policy.decide(failure(Misconfigured("wrong password"), rows=rows))
            assert not isinstance(verdict, DeadLetter | Drop | Split)

    def test_fatal_is_left_to_the_engine(self, subject: PolicySubject) -> None:
        verdict = subject.make().decide(failure(Fatal("lost its lock")))
        assert verdict is None or isinstance(verdict, Stop)

    def test_dead_letters_go_where_the_settings_say(self, subject: PolicySubject) -> None:
        policy = subject.make()
        for case in every_failure():
            verdict = policy.decide(case)
            if isinstance(verdict, DeadLetter):
                assert verdict.stream in subject.emits

    def test_reasons_are_given(self, subject: PolicySubject) -> None:
        policy = subject.make()
        for case in every_failure():
            verdict = policy.decide(case)
            if isinstance(verdict, Drop | Stop):
                assert verdict.reason, case
