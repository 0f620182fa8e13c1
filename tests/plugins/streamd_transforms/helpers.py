"""Calling a transform by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

from streamd.api import Batch, Reject, Rejects
from streamd.testing import RecordedMetrics, batch_of, stage_context


class Result(NamedTuple):
    """What came of one batch: values by stream (None is the step's own), and refused rows."""

    streams: dict[str | None, list[Any]]
    rejects: dict[int, Reject]
    batches: list[Batch]

    @property
    def values(self) -> list[Any]:
        return self.streams.get(None, [])

    @property
    def reasons(self) -> dict[int, str]:
        return {row: reject.reason for row, reject in self.rejects.items()}


def build(cls: Any, metrics: RecordedMetrics | None = None, **settings: Any) -> Any:
    """A transform of these settings."""
    return cls(cls.Config(**settings), stage_context(metrics=metrics))


def process(step: Any, batch: Batch) -> Result:
    streams: dict[str | None, list[Any]] = {}
    rejects: dict[int, Reject] = {}
    batches: list[Batch] = []
    for result in step.process(batch):
        if isinstance(result, Rejects):
            rejects.update(result.rows)
        else:
            stream = None if result is batch else result.stream
            streams.setdefault(stream, []).extend(result.values)
            batches.append(result)
    return Result(streams, rejects, batches)


def apply(cls: Any, values: list[Any], **settings: Any) -> Result:
    """What a new transform of these settings makes of the events."""
    return process(build(cls, **settings), batch_of(values))


def passes_untouched(step: Any, batch: Batch) -> bool:
    """Whether the very batch comes out again, and nothing else."""
    results = list(step.process(batch))
    return len(results) == 1 and results[0] is batch
