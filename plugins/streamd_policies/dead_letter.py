"""Put aside what cannot be processed, with everything that is known about it."""

from __future__ import annotations

from typing import Annotated

from streamd.api import (
    DEAD_LETTERS,
    DeadLetter,
    Failure,
    Fatal,
    Misconfigured,
    Pause,
    Permanent,
    Split,
    StageConfig,
    StageContext,
    Verdict,
    doc,
)


class DeadLetterPolicy:
    """Send events that failed into a stream that sinks can read."""

    class Config(StageConfig, frozen=True, kw_only=True):
        stream: Annotated[str, doc("Stream of the dead letters.")] = DEAD_LETTERS

        def emits(self, stage: str) -> tuple[str, ...]:  # noqa: ARG002
            return (self.stream,)

    def __init__(self, config: Config, context: StageContext) -> None:  # noqa: ARG002
        self.config = config

    def decide(self, failure: Failure) -> Verdict | None:
        if self.config.stream not in failure.readable:
            return None  # a dead letter that nobody reads would be lost
        match failure.error:
            case Fatal():
                return None
            case Misconfigured():
                # Every event would follow, while all that is needed is a table or a password.
                return Pause()
            case Permanent() if len(failure.batch) > 1:
                return Split()
            case _:
                return DeadLetter(self.config.stream)
