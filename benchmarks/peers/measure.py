"""What every side is given and what it reports. Standard library only."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from benchmarks.peers.jobs import JOBS, Job


class Meter:
    """CPU seconds of this process, all its threads included, from the first event."""

    def __init__(self) -> None:
        self.rows = 0
        self.missed = 0  # events read before the first look
        self._started = self._stopped = 0.0

    def start(self) -> None:
        """To be called with every event; the first counts."""
        if not self._started:
            self._started = time.process_time()

    def stop(self) -> None:
        """The last result is there."""
        self._stopped = time.process_time()

    def report(self) -> None:
        cpu = self._stopped - self._started
        print(json.dumps({"cpu": cpu, "rows": self.rows, "missed": self.missed}), flush=True)


def arguments() -> tuple[Job, dict[str, Any]]:
    """The job, and its places: brokers, topics, group, folder, memory."""
    places = json.loads(sys.argv[1])
    return JOBS[places["job"]]._replace(events=places["events"]), places
