"""How the daemon tells what it does: a line in the log, a line and a heartbeat to systemd."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anyio
import structlog

from streamd.engine.status import PipelineStatus
from streamd.engine.supervisor import Supervisor
from streamd.notify import Notifier
from streamd.telemetry.figures import number, span
from streamd.telemetry.lag import Lag, worst
from streamd.telemetry.metrics import Telemetry

_REPORT_EVERY = 10.0
_NOTE_EVERY = 5.0
_LONGEST_PROBLEM = 120  # characters


class Reporter:
    """Speaks of the supervised pipelines as long as the daemon lives.

    `refused` tells whether the last reload was refused.
    """

    def __init__(
        self,
        supervisors: Mapping[str, Supervisor],
        notifier: Notifier,
        telemetry: Telemetry,
        refused: Callable[[], bool],
    ) -> None:
        self.draining = False
        self._supervisors = supervisors
        self._notifier = notifier
        self._telemetry = telemetry
        self._refused = refused
        self._log = structlog.get_logger()
        self._seen: dict[str, int] = {}
        self._rates: dict[str, float] = {}

    def summary(self) -> str:
        """One line for `systemctl status`."""
        lags = worst(self._telemetry.of_stages())
        told = [
            describe(name, status, self._rates.get(name, 0.0), lags.get(name, Lag()))
            for name, status in self._statuses().items()
        ]
        return "; ".join([*told, *["the last reload was refused"] * self._refused()])

    async def report(self) -> None:
        """A line now and then that says what each pipeline does, while it does something."""
        while True:
            await anyio.sleep(_REPORT_EVERY)
            for name, status in self._statuses().items():
                read = status.read - self._seen.get(name, 0)
                # A restart of the pipeline counts from 0 again.
                self._rates[name] = max(read, 0) / _REPORT_EVERY
                self._seen[name] = status.read
                if read or status.problems:
                    self._tell(name, status)
            self._notifier.status(self.summary())

    async def feed_watchdog(self) -> None:
        """Sign of life for the service manager, unless a pipeline is stuck and cannot say why.

        A sink that is down is no reason to restart: that would not bring it back.
        """
        interval = self._notifier.watchdog_interval or _NOTE_EVERY
        while True:
            if not any(status.stuck for status in self._statuses().values()):
                self._notifier.alive()
            if self.draining:
                self._notifier.extend_timeout(3 * _NOTE_EVERY)
            await anyio.sleep(min(interval, _NOTE_EVERY))

    def _statuses(self) -> dict[str, PipelineStatus]:
        return {name: supervisor.status() for name, supervisor in self._supervisors.items()}

    def _tell(self, name: str, status: PipelineStatus) -> None:
        stored = {stage: s.events for stage, s in status.stages.items() if s.role == "sink"}
        self._log.info(
            "Progress",
            pipeline=name,
            per_second=round(self._rates[name], 1),
            read=status.read,
            stored=stored,
            **({"problems": status.problems} if status.problems else {}),
        )


def describe(name: str, status: PipelineStatus, rate: float, lag: Lag) -> str:
    """A pipeline in a few words. `rate` is in events per second."""
    words = [f"{name}: {status.state}", f"{number(rate)}/s", f"{number(status.read)} read"]
    if lag.events is not None:
        words.append(f"lag {number(lag.events)}")
    if lag.seconds is not None:
        words.append(f"{span(lag.seconds)} behind" if lag.seconds else "up to date")
    problem = next((one for one in status.problems if one != f"it is {status.state}"), "")
    if problem:
        words.append(problem[:_LONGEST_PROBLEM] + "..." * (len(problem) > _LONGEST_PROBLEM))
    return ", ".join(words)
