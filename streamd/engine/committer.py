"""One source's task that commits what is durable, at the source's own pace."""

from __future__ import annotations

import anyio

from streamd.api import Logger, Source, StreamdError
from streamd.engine.failure import Health
from streamd.engine.frames import let_go
from streamd.engine.intake import Intake
from streamd.telemetry.metrics import PipelineMetrics

_RETRY_AFTER = 1.0


class Committer:
    """Pays what the intake owes one source. A slow source holds up nobody else."""

    def __init__(
        self,
        name: str,
        source: Source,
        *,
        intake: Intake,
        store_id: str,
        metrics: PipelineMetrics,
        log: Logger,
    ) -> None:
        self.health = Health()
        self._name = name
        self._source = source
        self._intake = intake
        self._store_id = store_id
        self._metrics = metrics
        self._log = log

    async def run(self) -> None:
        """Never returns; cancel it once everything is committed."""
        while True:
            due = dict(self._intake.owed.get(self._name, {}))
            if not due:
                await self._intake.progress.wait()
                continue
            try:
                await self._source.commit(due, f"{self._store_id}:{self._intake.durable_epoch}")
            except StreamdError as error:
                self._failed(error)
                let_go(error)
                await anyio.sleep(_RETRY_AFTER)
                continue
            self.health.well()
            self._intake.paid(self._name, due)

    def _failed(self, error: StreamdError) -> None:
        self._metrics.lost_commits.inc()
        if self.health.reason is None:
            self._log.warning("Cannot commit; will try again", error=str(error))
        self.health.ill(f"cannot commit: {error}")
