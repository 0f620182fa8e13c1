"""Windows over event time: tumbling, sliding, session, join. Also as a library (`library.py`)."""

from streamd.api import Plugin, hookimpl
from streamd_windows.aggregates import Aggregate
from streamd_windows.library import (
    SessionWindow,
    StreamAggregator,
    StreamJoiner,
    StreamProcessor,
    TimeWindow,
)
from streamd_windows.stages import JoinStage, SessionStage, SlidingStage, TumblingStage

__all__ = [
    "Aggregate",
    "JoinStage",
    "SessionStage",
    "SessionWindow",
    "SlidingStage",
    "StreamAggregator",
    "StreamJoiner",
    "StreamProcessor",
    "TimeWindow",
    "TumblingStage",
]


@hookimpl
def streamd_plugins() -> list[Plugin]:
    return [
        Plugin("window", "tumbling", TumblingStage),
        Plugin("window", "sliding", SlidingStage),
        Plugin("window", "session", SessionStage),
        Plugin("window", "join", JoinStage),
    ]
