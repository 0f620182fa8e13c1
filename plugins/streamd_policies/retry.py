"""Try again a few times."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from streamd.api import (
    Failure,
    Fatal,
    Misconfigured,
    Permanent,
    Rejected,
    Retry,
    StageContext,
    Verdict,
    doc,
)
from streamd_policies.backoff import BackoffConfig, delay


class RetryPolicy:
    """Try a batch again after 2, 4 and 8 seconds, then leave it to the next policy."""

    class Config(BackoffConfig, frozen=True, kw_only=True):
        max_retries: Annotated[
            int, doc("Tries after the first one; 0: none at all."), Meta(ge=0)
        ] = 3

    def __init__(self, config: Config, context: StageContext) -> None:  # noqa: ARG002
        self.config = config

    def decide(self, failure: Failure) -> Verdict | None:
        # What is left may pass by itself: a server that is down, or a bug that time mends.
        if isinstance(failure.error, Rejected | Permanent | Misconfigured | Fatal):
            return None
        if failure.attempt > self.config.max_retries:
            return None
        return Retry(delay(self.config, failure))
