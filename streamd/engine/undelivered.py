"""Where rows go that are not stored as they came: dead letters, back to the client, dropped."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamd.api import Batch, Clock, Failure, Logger, Outcome, Reject, Rejected, Settlement
from streamd.engine.chain import Line
from streamd.engine.dead_letter import documents
from streamd.engine.failure import SPILL
from streamd.engine.ledger import Ledger
from streamd.engine.returns import Returns
from streamd.engine.spill import Spill
from streamd.telemetry.metrics import Telemetry
from streamd.telemetry.sampling import Sampler


class Undelivered:
    """One pipeline's routing of failed rows.

    `lines` is read at the time of a failure; a reload replaces it. Of a partition, `settles` tells
    whether its source wants to know each event's outcome, `answers` whether it takes rejected
    events back itself. Of `returns`, dead letters that are let in again, no source wants to know.
    `first_sink` is the first that reads events.
    """

    def __init__(
        self,
        pipeline: str,
        *,
        lines: Mapping[str, Line],
        ledger: Ledger,
        spill: Spill,
        telemetry: Telemetry,
        clock: Clock,
        sampler: Sampler,
        config_digest: str,
        settles: Callable[[str], bool],
        answers: Callable[[str], bool],
        log: Logger,
    ) -> None:
        self._pipeline = pipeline
        self.lines = lines
        self._ledger = ledger
        self._spill = spill
        self._telemetry = telemetry
        self._clock = clock
        self._sampler = sampler
        self.config_digest = config_digest
        self._settles = settles
        self._answers = answers
        self._log = log
        self.buried = 0
        self.returns = Returns()
        self.first_sink = ""

    async def bury(self, stream: str, failure: Failure, epochs: Sequence[int]) -> None:
        """Send the rows as dead letters to every sink that reads the stream."""
        line = self.lines.get(stream)
        if stream == SPILL or line is None or not line.slots:
            await self._to_file(failure, epochs, already=stream == SPILL)
            return
        docs = self._documents(failure)
        self._record(failure, docs, epochs)
        batch = failure.batch
        letters = Batch(
            docs,
            offsets=batch.offsets,
            timestamps=batch.timestamps,
            spans=batch.spans,
            keys=batch.keys,
        )
        for slot in line.slots:
            slot.put(letters, epochs)

    def forgive(self, failure: Failure, epochs: Sequence[int]) -> bool:
        """Give rejected rows back to a source whose client waits for the answer."""
        self._count_rejects(failure)
        batch = failure.batch
        if failure.role == "sink" or not all(self._answers(s.partition) for s in batch.spans):
            return False
        if self.returns.any_of(batch):  # whoever sent it was answered long ago
            return False
        self._settle("rejected", failure, [None] * len(batch), epochs)
        return True

    def dropped(self, failure: Failure, epochs: Sequence[int], reason: str) -> None:
        """A policy has dropped the rows."""
        rows = len(failure.batch)
        self._telemetry.stage(self._pipeline, failure.stage).dropped(reason, rows)
        if told := self._sampler.allow((failure.stage, "dropped", reason), rows):
            self._log.warning(
                "Dropped",
                stage=failure.stage,
                reason=reason,
                events=told,
                error=str(failure.error)[:200],
            )
        self.returns.met(failure.batch, "dropped")
        self._settle("dropped", failure, [None] * rows, epochs)

    def unread(self, stream: str, rows: int) -> None:
        """Rows were sent to a stream that nobody reads, on purpose."""
        self._telemetry.stage(self._pipeline, stream).dropped("unread_stream", rows)

    def _documents(self, failure: Failure) -> list[dict[str, Any]]:
        now_ms = self._clock.now_ms()
        apart = f"-{failure.stage}" if self._fails_beside_others(failure) else ""
        docs = documents(failure, now_ms=now_ms, config_digest=self.config_digest, apart=apart)
        self.returns.count_on(failure.batch, docs)
        return docs

    def _fails_beside_others(self, failure: Failure) -> bool:
        """Whether the event can have a dead letter of another stage, too."""
        others = failure.role == "sink" and failure.stage != self.first_sink
        return others or failure.role == "window"

    def _record(
        self, failure: Failure, docs: Sequence[dict[str, Any]], epochs: Sequence[int]
    ) -> None:
        types = Tally(doc["error"]["type"] for doc in docs)
        self._telemetry.stage(self._pipeline, failure.stage).dead_lettered(types)
        self.buried += len(docs)
        self.returns.met(failure.batch, "dead_lettered")
        self._settle("dead_lettered", failure, [doc["dlq_id"] for doc in docs], epochs)
        if told := self._sampler.allow((failure.stage, "dead"), len(docs)):
            self._log.warning("Dead-lettered", stage=failure.stage, events=told, types=dict(types))

    async def _to_file(self, failure: Failure, epochs: Sequence[int], *, already: bool) -> None:
        if already:  # a dead letter that its own sink refuses: the document is the row itself
            why = {"refused_by": failure.stage, "refused_because": str(failure.error)}
            docs = [{**value, **why} for value in failure.batch.values]
        else:
            docs = self._documents(failure)
            self._record(failure, docs, epochs)
        await self._spill.append(docs)
        self._log.error(
            "Dead letters written to a file", rows=len(docs), path=str(self._spill.path)
        )

    def _settle(
        self,
        outcome: Outcome,
        failure: Failure,
        ids: Sequence[str | None],
        epochs: Sequence[int],
    ) -> None:
        batch = failure.batch
        rejects = _rejects(failure)
        self._ledger.failed(
            epochs,
            len(batch),
            [
                Settlement(*batch.locate(row), outcome, rejects.get(row), ids[row], failure.role)
                for row in range(len(batch))
                if not self.returns.holds(batch.locate(row))
            ]
            if any(self._settles(span.partition) for span in batch.spans)
            else (),
        )

    def _count_rejects(self, failure: Failure) -> None:
        if failure.role not in ("source", "validate") or not isinstance(failure.error, Rejected):
            return
        stage = self._telemetry.stage(self._pipeline, failure.stage)
        stage.validation_failed(failure.error.rows.values())
        for reason, rows in Tally(r.reason for r in failure.error.rows.values()).items():
            if told := self._sampler.allow((failure.stage, reason), rows):
                example = next(r for r in failure.error.rows.values() if r.reason == reason)
                self._log.warning(
                    "Validation failed",
                    stage=failure.stage,
                    reason=reason,
                    events=told,
                    example=example.message[:200],
                )


def _rejects(failure: Failure) -> dict[int, Reject]:
    return failure.error.rows if isinstance(failure.error, Rejected) else {}
