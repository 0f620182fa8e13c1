"""Making epochs final: store the checkpoint, then settle with whoever waits.

The order is the law: only what is stored is settled, and only then owed to the source to commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anyio

from streamd.api import Logger, Retryable, Settlement, Settles, Source
from streamd.engine.frames import let_go
from streamd.engine.intake import Intake
from streamd.engine.ledger import Cut, Epoch, Ledger
from streamd.engine.store import Store
from streamd.telemetry.metrics import PipelineMetrics

_RETRY_AFTER = 1.0


class Checkpointer:
    """The task that follows the ledger."""

    def __init__(
        self,
        pipeline: str,
        *,
        sources: Callable[[], Mapping[str, Source]],
        intake: Intake,
        ledger: Ledger,
        store: Store,
        saving: anyio.Lock,
        metrics: PipelineMetrics,
        log: Logger,
    ) -> None:
        self._pipeline = pipeline
        self._sources = sources
        self._intake = intake
        self._ledger = ledger
        self._store = store
        self._saving = saving
        self._metrics = metrics
        self._log = log

    async def run(self) -> None:
        """Never returns; cancel it once everything is durable."""
        while True:
            try:
                advanced = await self._advance()
            except Retryable as error:
                self._log.warning(
                    "Cannot store a checkpoint; nothing is committed", error=str(error)
                )
                let_go(error)
                await anyio.sleep(_RETRY_AFTER)
                continue
            if not advanced:
                await self._intake.progress.wait(_RETRY_AFTER)

    async def _advance(self) -> bool:
        """Make what is complete durable; whether there was anything.

        Raises Retryable if the store does not take it; nothing has changed then.
        """
        async with self._saving:
            epochs = self._ledger.completed()
            if epochs:
                cut = _join(epochs)
                last = epochs[-1].number
                await self._save(last, cut)
                self._ledger.retire(last)
                self._intake.durable(last, cut.positions)
        if not epochs:
            return False
        self._settle(cut, [item for epoch in epochs for item in epoch.settlements])
        self._metrics.completed(sum(e.events for e in epochs), sum(e.failed for e in epochs))
        await self._intake.close_if_due(urgent=self._waiting())
        return True

    async def _save(self, epoch: int, cut: Cut) -> None:
        sources = self._sources()
        durable = {
            source: positions
            for source, positions in cut.positions.items()
            if positions and source in sources and sources[source].resumes
        }
        if durable or cut.changes:
            started = anyio.current_time()
            await self._store.save(self._pipeline, epoch, Cut(durable, cut.changes))
            self._metrics.checkpoint_duration.observe(anyio.current_time() - started)

    def _settle(self, cut: Cut, settlements: list[Settlement]) -> None:
        for name, source in self._sources().items():
            if isinstance(source, Settles):
                own = [s for s in settlements if self._intake.owners.get(s.partition) == name]
                source.settle(cut.positions.get(name, {}), own)

    def _waiting(self) -> bool:
        return any(isinstance(s, Settles) and s.waiting() for s in self._sources().values())


def _join(epochs: list[Epoch]) -> Cut:
    cut = Cut()
    for epoch in epochs:
        if epoch.cut is not None:
            cut.update(epoch.cut)
    return cut
