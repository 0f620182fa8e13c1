"""Measures the pipelines every other second and remembers the last minutes.

So the page shows at once what has been, and it costs the same however many look on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import anyio
import structlog
from msgspec import Struct

from streamd.admin.compare import compare
from streamd.admin.look import History, PipelineLook, Point
from streamd.admin.readings import Readings, read
from streamd.api import Clock
from streamd.engine.supervisor import Supervisor
from streamd.telemetry.metrics import Telemetry

EVERY = 2.0
"""Seconds between two measurements."""

_KEPT = 300


class _Moment(Struct, frozen=True):
    time: float
    points: dict[str, Point]


class Sampler:
    """`latest` is what was measured at `time` (seconds since the epoch), by pipeline."""

    def __init__(
        self, telemetry: Telemetry, supervisors: Mapping[str, Supervisor], clock: Clock
    ) -> None:
        self.latest: dict[str, PipelineLook] = {}
        self.time = 0.0
        self._telemetry = telemetry
        self._supervisors = supervisors
        self._clock = clock
        self._moments: deque[_Moment] = deque(maxlen=_KEPT)
        self._readings: Readings = {}

    async def run(self) -> None:
        """Measure until cancelled. A fault of ours here is no reason to end the daemon."""
        told = False
        while True:
            try:
                self.sample()
            except Exception as error:
                if not told:
                    structlog.get_logger().error("Cannot measure", exc_info=error)
                told = True
            await anyio.sleep(EVERY)

    def sample(self) -> None:
        """Measure now."""
        now = self._clock.now_ms() / 1000
        after = read(self._telemetry.of_stages())
        before = self._readings if self._moments else after
        # After a jump of the clock a rate is wrong once; it is never divided by nothing.
        seconds = max(now - self.time, EVERY / 2)
        self.latest = {
            name: compare(
                name,
                status := supervisor.status(),
                before,
                after,
                dead=self._dead_since(name, status.dead_lettered),
                seconds=seconds,
            )
            for name, supervisor in self._supervisors.items()
        }
        self.time, self._readings = now, after
        self._moments.append(_Moment(now, {name: look.now for name, look in self.latest.items()}))

    def _dead_since(self, name: str, total: int) -> int:
        """A pipeline that has started anew counts from 0."""
        last = self.latest.get(name)
        known = last.status.dead_lettered if last else total
        return total - known if total >= known else total

    def history(self, since: float = 0.0) -> History:
        """What was measured after this time (seconds since the epoch)."""
        moments = [moment for moment in self._moments if moment.time > since]
        return History(
            [moment.time for moment in moments],
            {
                name: {
                    column: [_value(moment.points.get(name), column) for moment in moments]
                    for column in Point.__struct_fields__
                }
                for name in self.latest
            },
        )


def _value(point: Point | None, column: str) -> float | None:
    return None if point is None else getattr(point, column)
