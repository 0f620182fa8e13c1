"""What the admin port tells of the running daemon, as data: for the page and `streamd top`."""

from __future__ import annotations

from msgspec import Struct

from streamd.engine.status import PipelineStatus
from streamd.reloading import ReloadResult


class Point(Struct, frozen=True):
    """A pipeline at one moment. Rates are events per second since the moment before.

    `latency` and `latency_p99` are seconds from an event's read to its delivery, None where
    nothing was delivered. `lag_events` and `lag_seconds` are what its sources have not read yet,
    None where none of them tells. `watermark_lag` is the slowest window's, in seconds.
    """

    read: float = 0.0
    written: float = 0.0
    refused: float = 0.0
    retried: float = 0.0
    dead: float = 0.0
    in_flight: int = 0
    latency: float | None = None
    latency_p99: float | None = None
    lag_events: float | None = None
    lag_seconds: float | None = None
    watermark_lag: float | None = None


class PipelineLook(Struct, frozen=True):
    """One pipeline now. `rates` are the events per second of each stage; `gauges` is all that
    its stages tell of themselves beside that, by stage and metric without its `streamd_`."""

    status: PipelineStatus
    now: Point
    rates: dict[str, float]
    gauges: dict[str, dict[str, float]]


class Look(Struct, frozen=True):
    """The whole daemon. Times are seconds since the epoch; `time` is when it was measured.

    `digest` identifies the configuration: as long as it is the same, so are the graphs.
    `guarded`: a token is asked for.
    """

    time: float
    started: float
    every: float
    version: str
    digest: str
    pipelines: dict[str, PipelineLook]
    reload: ReloadResult | None = None
    guarded: bool = False


class History(Struct, frozen=True):
    """The last minutes: for each pipeline one list per field of Point, as long as `times`.

    None where the pipeline was not there yet.
    """

    times: list[float]
    pipelines: dict[str, dict[str, list[float | None]]]
