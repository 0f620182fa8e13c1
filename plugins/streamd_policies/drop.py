"""Forget what cannot be processed."""

from __future__ import annotations

from typing import Annotated, Literal

from streamd.api import (
    Drop,
    Failure,
    Fatal,
    Misconfigured,
    Pause,
    Permanent,
    Rejected,
    Retryable,
    Split,
    StageConfig,
    StageContext,
    Verdict,
    doc,
)


class DropPolicy:
    """Forget events that failed; they are counted by reason."""

    class Config(StageConfig, frozen=True, kw_only=True):
        misconfigured: Annotated[
            Literal["pause", "drop"],
            doc(
                "When no event can succeed before a person acts (a wrong password, a missing"
                " table): wait for that, or drop every event until then."
            ),
        ] = "pause"

    def __init__(self, config: Config, context: StageContext) -> None:  # noqa: ARG002
        self.config = config

    def decide(self, failure: Failure) -> Verdict | None:
        match failure.error:
            case Fatal():
                return None
            case Misconfigured() if self.config.misconfigured == "pause":
                return Pause()
            case Permanent() if len(failure.batch) > 1:
                return Split()
            case error:
                return Drop(_reason(error))


def _reason(error: Exception) -> str:
    """A short label, as it becomes one of a metric."""
    for kind in (Rejected, Permanent, Retryable, Misconfigured):
        if isinstance(error, kind):
            return kind.__name__.lower()
    return "bug"
