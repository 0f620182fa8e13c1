"""For the tests of plugins and pipelines: public, like `streamd.api`."""

from streamd.testing.batches import batch_of, sample_event
from streamd.testing.codecs import AskingJson, PlainJson
from streamd.testing.contexts import (
    FakeClock,
    FakeControl,
    RecordedMetric,
    RecordedMetrics,
    stage_context,
)

__all__ = [
    "AskingJson",
    "FakeClock",
    "FakeControl",
    "PlainJson",
    "RecordedMetric",
    "RecordedMetrics",
    "batch_of",
    "sample_event",
    "stage_context",
]
