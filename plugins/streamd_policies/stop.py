"""Stop rather than go on without the events that failed."""

from __future__ import annotations

from streamd.api import Failure, StageConfig, StageContext, Stop, Verdict


class StopPolicy:
    """Stop the pipeline; what failed stays uncommitted and comes again at the next start."""

    class Config(StageConfig, frozen=True, kw_only=True):
        pass

    def __init__(self, config: Config, context: StageContext) -> None:
        pass

    def decide(self, failure: Failure) -> Verdict | None:
        error = failure.error
        return Stop(f"{type(error).__name__}: {error}")
