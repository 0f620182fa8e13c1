"""For the tests of plugins and pipelines: public, like `streamd.api`."""

from streamd.testing.contexts import (
    FakeClock,
    FakeControl,
    RecordedMetric,
    RecordedMetrics,
    stage_context,
)

__all__ = [
    "FakeClock",
    "FakeControl",
    "RecordedMetric",
    "RecordedMetrics",
    "stage_context",
]
