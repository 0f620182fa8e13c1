"""What a stage is given beside its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from streamd.api.clock import Clock
from streamd.api.errors import Reject
from streamd.api.roles import Codec, Control


class Logger(Protocol):
    """A structlog logger bound to pipeline and stage. At most one line per batch."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class Counter(Protocol):
    def inc(self, amount: float = 1) -> None: ...


class Gauge(Protocol):
    def set(self, value: float) -> None: ...


class Histogram(Protocol):
    def observe(self, amount: float) -> None: ...


class Metrics(Protocol):
    """Metrics of one stage: names get the prefix `streamd_` and the labels pipeline and stage.

    Ask once, keep what is returned, and add to it once per batch. All stages that ask for a name
    share the metric, so its documentation and label names must be the same everywhere.
    """

    def counter(self, name: str, documentation: str, **labels: str) -> Counter: ...
    def gauge(self, name: str, documentation: str, **labels: str) -> Gauge: ...
    def histogram(self, name: str, documentation: str, **labels: str) -> Histogram: ...

    def validation_failed(self, rejects: Iterable[Reject]) -> None:
        """Count events that a validator lets pass although they fail, by reason, in
        `consumer_validation_failures_total`. Those that it refuses the engine counts."""
        ...

    def exposition(self) -> tuple[bytes, str]:
        """Every metric of the daemon in Prometheus' text format, and its media type."""
        ...


class StageContext(Struct, frozen=True):
    """The stage's place in the pipeline and what the engine lends it.

    - `pipeline`, `stage`, `role`: where it stands; `stage` is its id.
    - `inputs`: the streams that it reads (empty for a source).
    - `readable`: the streams of the pipeline that some stage reads.
    - `codec`: the codec of a source or sink.
    - `control`: the engine's side of a source.
    - `state_dir`: a directory for the daemon's own data; may not exist yet.
    - `extensions`: plugins of roles that the engine itself does not know, by role and name
      (aggregations, quality rules).
    """

    pipeline: str
    stage: str
    role: str
    log: Logger
    metrics: Metrics
    clock: Clock
    state_dir: Path
    inputs: tuple[str, ...] = ()
    readable: frozenset[str] = frozenset()
    codec: Codec | None = None
    control: Control | None = None
    extensions: Mapping[str, Mapping[str, type]] = {}
