"""How long to wait before the next try."""

from __future__ import annotations

import hashlib
from typing import Annotated

from msgspec import Meta

from streamd.api import Duration, Failure, Retryable, StageConfig, doc

LONGEST = 3600.0
"""Seconds. A server that asks for more (or for nonsense) is asked again after an hour."""

_MOST_DOUBLINGS = 64  # more would overflow a float long before it mattered


class BackoffConfig(StageConfig, frozen=True, kw_only=True):
    """Settings of a delay that grows from try to try."""

    initial: Annotated[Duration, doc("Wait before the first retry.")] = Duration("2s")
    factor: Annotated[
        float, doc("Each further wait is this many times longer."), Meta(ge=1, le=100)
    ] = 2.0
    max_delay: Annotated[Duration, doc("Longest wait.")] = Duration("30s")
    jitter: Annotated[
        bool,
        doc("Wait a random part of the time, so that many daemons do not come back as one."),
    ] = False


def delay(config: BackoffConfig, failure: Failure) -> float:
    """Seconds until the next try, at least what the other side asked for."""
    steps = min(failure.attempt - 1, _MOST_DOUBLINGS)
    seconds = min(config.max_delay, config.initial * config.factor**steps)
    if config.jitter:
        seconds *= _fraction(failure)
    if isinstance(failure.error, Retryable) and failure.error.after is not None:
        # max_delay does not bound it: to knock earlier would only use up the retries.
        seconds = max(seconds, min(failure.error.after, LONGEST))
    return seconds


def _fraction(failure: Failure) -> float:
    """A number from 0 to 1 that looks random and is the same for the same try of a batch."""
    first = failure.batch.locate(0) if len(failure.batch) else ("", 0)
    name = f"{failure.pipeline}/{failure.stage}/{failure.attempt}/{first}"
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return float(int.from_bytes(digest, "big") / 2**64)
