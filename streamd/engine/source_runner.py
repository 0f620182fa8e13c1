"""One source's task: poll, hand the batches in, and hold still while the pipeline is full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import anyio

from streamd.api import (
    Batch,
    Bounded,
    Codec,
    Drains,
    KeepsAlive,
    Logger,
    Misconfigured,
    Prepares,
    Retryable,
    Settles,
    Source,
    preparing,
)
from streamd.engine.failure import Health, backoff
from streamd.engine.frames import let_go
from streamd.engine.intake import Intake
from streamd.engine.preparation import until_ready
from streamd.telemetry.metrics import PipelineMetrics, StageMetrics

_POLL_TIMEOUT = 0.25
"""Seconds that a poll may wait: how soon a tick, a cut or a stop is seen on a quiet stream."""

_KEEPALIVE_EVERY = 1.0


class SourceRunner:
    """Reads one source until it is stopped or has come to its end."""

    def __init__(
        self,
        name: str,
        source: Source,
        codec: Codec,
        *,
        intake: Intake,
        batch_events: Callable[[], int],
        metrics: StageMetrics,
        pipeline_metrics: PipelineMetrics,
        log: Logger,
        on_end: Callable[[], None],
    ) -> None:
        self.health = Health()
        self._name = name
        self._source = source
        self._asking = preparing(codec)
        self._intake = intake
        self._batch_events = batch_events
        self._metrics = metrics
        self._pipeline_metrics = pipeline_metrics
        self._log = log
        self._on_end = on_end
        self._stopping = False
        self._failures = 0
        self._kept_alive = 0.0
        self.ended = anyio.Event()
        self.read = 0

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stopping = True

    async def stop_and_wait(self) -> None:
        """Returns when the source is no longer polled."""
        self.stop()
        await self.ended.wait()

    async def run(self) -> None:
        try:
            await self._read()
        finally:
            if isinstance(self._source, Drains):
                self._source.drain()
            self.ended.set()
            self._on_end()

    async def _read(self) -> None:
        while not self._stopping:
            if self._intake.full:
                await self._hold()
                continue
            await self._poll()
            if isinstance(self._source, Settles) and self._source.waiting():
                await self._intake.close_if_due(urgent=True)
            if isinstance(self._source, Bounded) and self._source.exhausted():
                return

    async def _poll(self) -> None:
        try:
            batches = await self._source.poll(self._batch_events(), _POLL_TIMEOUT)
        except (Retryable, Misconfigured) as error:
            await self._recover(error)
            let_go(error)
            return
        self._failures = 0
        if self._asking is not None and not await self._prepare(self._asking, batches):
            return
        self.health.well()
        for batch in batches:
            self._metrics.events.inc(len(batch))
            self.read += len(batch)
            self._metrics.bytes.inc(batch.size)
        await self._intake.take(self._name, batches)

    async def _recover(self, error: Retryable | Misconfigured) -> None:
        self._failures += 1
        self.health.ill(str(error))
        after = error.after if isinstance(error, Retryable) else None
        delay = backoff(self._failures, after)
        self._log.warning("Cannot read; will try again", error=str(error), delay=delay)
        # A step's time goes on: a source that is away is a quiet one.
        until = anyio.current_time() + delay
        while not self._stopping and (left := until - anyio.current_time()) > 0:
            await anyio.sleep(min(left, _POLL_TIMEOUT))
            await self._intake.take(self._name, [])

    async def _prepare(self, asking: Prepares, batches: Sequence[Batch]) -> bool:
        """Let the codec learn what it needs for these. The source is held back until it has.

        Returns False where they are let go of: no position has moved past them, and they are read
        again the next time.
        """
        with self._intake.active_time.held_back(self._name):
            for batch in batches:
                if not batch.decoded and not await until_ready(
                    partial(asking.prepare_to_decode, batch.raws or ()),
                    self._wait_for_codec,
                    rows=len(batch),
                    health=self.health,
                    metrics=self._metrics,
                    log=self._log,
                ):
                    return False
        return True

    async def _wait_for_codec(self, seconds: float) -> bool:
        until = anyio.current_time() + seconds
        while (left := until - anyio.current_time()) > 0:
            # What cannot be read again has the time that a drain may take.
            if self._stopping and self._source.resumes:
                return False
            await self.sleep(min(left, _POLL_TIMEOUT))
            await self._intake.take(self._name, [])
        return True

    async def _hold(self) -> None:
        """Wait for room, keeping the source's membership alive."""
        self._pipeline_metrics.held.set(1)
        await self._intake.close_if_due()
        await self.sleep(_KEEPALIVE_EVERY, until_room=True)
        self._pipeline_metrics.held.set(0)

    async def sleep(self, seconds: float, *, until_room: bool = False) -> None:
        """Let time pass without reading: under back-pressure, or before a step is tried again."""
        until = anyio.current_time() + seconds
        while (left := until - anyio.current_time()) > 0:
            if until_room:
                await self._intake.progress.wait(min(left, _KEEPALIVE_EVERY))
            else:
                await anyio.sleep(min(left, _KEEPALIVE_EVERY))
            self._intake.active_time.skip()
            if until_room and (self._stopping or not self._intake.full):
                return
            await self._keepalive()

    async def _keepalive(self) -> None:
        now = anyio.current_time()
        if not isinstance(self._source, KeepsAlive) or now - self._kept_alive < _KEEPALIVE_EVERY:
            return
        self._kept_alive = now
        try:
            await self._source.keepalive()
        except Retryable as error:
            self._log.debug("Keepalive failed", error=str(error))
