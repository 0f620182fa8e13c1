"""Hold the pipeline back until it works again."""

from __future__ import annotations

from typing import Annotated

from streamd.api import (
    Duration,
    Failure,
    Fatal,
    Misconfigured,
    Pause,
    Permanent,
    Rejected,
    Retry,
    Split,
    StageContext,
    Verdict,
    doc,
)
from streamd_policies.backoff import BackoffConfig, delay


class BlockPolicy:
    """Try again for ever; the source is held back meanwhile and nothing is lost.

    Rows that no retry can mend (rejected, or the one that is to blame for a permanent error)
    pause the stage: it is reported as unhealthy and tried again until a person has acted.
    """

    class Config(BackoffConfig, frozen=True, kw_only=True):
        initial: Annotated[Duration, doc("Wait before the first retry.")] = Duration("1s")

    def __init__(self, config: Config, context: StageContext) -> None:  # noqa: ARG002
        self.config = config

    def decide(self, failure: Failure) -> Verdict | None:
        match failure.error:
            case Fatal():
                return None
            case Permanent() if len(failure.batch) > 1:
                return Split()
            case Permanent() | Rejected() | Misconfigured():
                return Pause(self.config.max_delay)
            case _:
                return Retry(delay(self.config, failure))
