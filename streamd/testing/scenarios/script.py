"""A test that was checked: what happens when, and what has to come of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from streamd.api import Header
from streamd.engine.plan import dead_letter_streams, readable_streams
from streamd.settings.model import PipelineSpec, Settings
from streamd.testing.scenarios.model import Expectation, Fault, Scenario


class Arrival(NamedTuple):
    """One record that a source will read: `at` in seconds on the test's clock."""

    at: float
    partition: str
    raw: bytes
    timestamp: int
    key: bytes | None
    headers: tuple[Header, ...]


class Row(NamedTuple):
    """A row that came somewhere, as plain JSON values, and when on the test's clock."""

    at: float
    value: Any


Rows = list[Row]


class Place(NamedTuple):
    """Where in a pipeline rows are looked at; `kind` is sink, stream, step or source."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Expected(Struct, frozen=True):
    """An expectation: the place, `rows` as plain JSON values, and `where` it stands, file:line."""

    where: str
    place: Place
    rows: tuple[Any, ...]
    says: Expectation


class Script(Struct, frozen=True, kw_only=True):
    """One test. `arrivals` are by source, in order; sources without any are in it too."""

    where: str
    scenario: Scenario
    settings: Settings
    pipeline: PipelineSpec
    arrivals: Mapping[str, tuple[Arrival, ...]]
    faults: tuple[Fault, ...]
    expected: tuple[Expected, ...]

    @property
    def start_ms(self) -> int:
        return round(self.scenario.start.timestamp() * 1000)

    @property
    def dead_letter_streams(self) -> frozenset[str]:
        """Those that somebody reads."""
        return dead_letter_streams(self.pipeline) & readable_streams(self.pipeline)

    @property
    def last_arrival(self) -> float:
        """Seconds from the start; 0 if nothing arrives."""
        return max((one.at for some in self.arrivals.values() for one in some), default=0.0)
