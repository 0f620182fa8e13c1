"""What the sources of a pipeline share: the chain, the cut between two batches, the budget.

Everything that touches the steps or the open epoch happens under one lock, so that a cut always
falls between two batches: positions and state of an epoch belong to the same moment.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import anyio

from streamd.api import Batch, Committed, Fatal, Logger, Misconfigured, Stateful, Timed
from streamd.engine.chain import Chain
from streamd.engine.ledger import Change, Cut, Ledger
from streamd.engine.signal import Signal
from streamd.engine.slot import Slot
from streamd.engine.store import Positions, Store
from streamd.settings.model import PipelineOptions

MOST_UNFINISHED = 4
"""Closed epochs that may be incomplete; after that the open one grows."""


@dataclass(slots=True)
class Steps:
    """The steps with powers, by id: the stream that each writes, and the keys of their state."""

    stateful: Mapping[str, Stateful]
    state_keys: Mapping[str, str]
    timed: Mapping[str, tuple[str, Timed]]


class Intake:
    """Where the sources of one pipeline hand their batches in."""

    def __init__(
        self,
        pipeline: str,
        options: PipelineOptions,
        *,
        chain: Chain,
        steps: Steps,
        slots: Collection[Slot],
        ledger: Ledger,
        store: Store,
        log: Logger,
    ) -> None:
        self.progress = Signal()
        self._pipeline = pipeline
        self._options = options
        self._chain = chain
        self._steps = steps
        self._slots = slots
        self._ledger = ledger
        self._store = store
        self._log = log
        self._lock = anyio.Lock()
        self.saving = anyio.Lock()
        self.owed: Positions = {}
        self._owners: dict[str, str] = {}
        self._moved: Positions = {}
        self._committed = ledger.open.number - 1
        self._progressed_at = 0.0
        self._ended = False
        self._active = 0.0
        self._ticked = anyio.current_time()

    # --- events --------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether the sources must wait: for the budget, or for a slot."""
        ledger, options = self._ledger, self._options
        return (
            ledger.events >= options.max_events
            or ledger.size >= options.max_bytes
            or any(slot.full for slot in self._slots)
        )

    def owner(self, partition: str) -> str | None:
        """The source that reads a partition now."""
        return self._owners.get(partition)

    async def take(self, source: str, batches: list[Batch]) -> None:
        """Run batches through the chain, but for those of partitions that have moved away."""
        async with self._lock:
            for batch in batches:
                if len(batch) and all(span.partition in self._owners for span in batch.spans):
                    await self._enter(source, batch)
            await self._tick()
            self._close_if_due()

    async def _enter(self, source: str, batch: Batch) -> None:
        ledger = self._ledger
        if ledger.idle:
            self._progressed_at = anyio.current_time()
        ledger.read(len(batch), batch.size)
        await self._chain.enter(source, batch, (ledger.open.number,))
        moved = self._moved.setdefault(source, {})
        for span in batch.spans:
            moved[span.partition] = span.stop

    async def finish(self) -> None:
        """All sources have come to their end: no step need wait for more."""
        async with self._lock:
            self._active = math.inf
            await self._tick()

    async def _tick(self) -> None:
        now = anyio.current_time()
        self._active += now - self._ticked
        self._ticked = now
        for output, step in self._steps.timed.values():
            for batch in step.tick(self._active):
                if len(batch):
                    self._ledger.open.touched = True
                    stream = output if batch.stream is None else batch.stream
                    await self._chain.run(stream, batch, (self._ledger.open.number,))

    def skip_time(self) -> None:
        """Back-pressure has held the sources since the last call: no step has been idle for it."""
        self._ticked = anyio.current_time()

    # --- the cut -------------------------------------------------------------------------

    async def close(self, *, flush: bool = False) -> int:
        """Close the open epoch now if anything is in it; the number of the last closed one."""
        async with self._lock:
            if self._ledger.open.touched:
                self._close()
            if flush:
                self._flush()
            return self._ledger.open.number - 1

    async def close_if_due(self, *, urgent: bool = False) -> None:
        """Close the epoch if its time has come, or at once if somebody waits for an answer."""
        async with self._lock:
            self._close_if_due(urgent=urgent)

    def _close_if_due(self, *, urgent: bool = False) -> None:
        epoch, options = self._ledger.open, self._options
        if not epoch.touched or self._ledger.unfinished >= MOST_UNFINISHED:
            return
        old = anyio.current_time() - epoch.opened >= options.epoch_time
        if urgent or old or epoch.events >= options.epoch_events or self.full:
            self._close()
            if urgent or self.full:
                self._flush()

    def _close(self) -> None:
        changes: list[Change] = [
            (step, partition, key, value)
            for step, stateful in self._steps.stateful.items()
            for partition, key, value in stateful.take_changes()
        ]
        self._ledger.close(Cut(self._moved, changes), anyio.current_time())
        self._moved = {}
        self.progress.set()

    def _flush(self) -> None:
        for slot in self._slots:
            slot.flush()

    def committed(self, epoch: int) -> None:
        """The checkpoint of an epoch is durable and its source committed."""
        self._committed = epoch
        self._progressed_at = anyio.current_time()
        self.progress.set()

    @property
    def stalled_for(self) -> float:
        """Seconds since an epoch was committed while events are in flight; 0 when idle."""
        return 0.0 if self._ledger.idle else anyio.current_time() - self._progressed_at

    def end(self) -> None:
        """Nothing writes or commits any more: nobody need wait for it."""
        self._ended = True

    async def until_committed(self, epoch: int, timeout: float) -> bool:
        """Whether all epochs up to this are committed within `timeout` seconds."""
        with anyio.move_on_after(timeout):
            while self._committed < epoch:
                await self.progress.wait()
        return self._committed >= epoch

    # --- partitions ----------------------------------------------------------------------

    async def assigned(
        self, source: str, partitions: Mapping[str, Committed | None]
    ) -> dict[str, int | None]:
        """Take partitions over: see `Control.assigned`."""
        async with self._lock:
            self._refuse_twice_owned(source, partitions)
            checkpoint = await self._store.last(self._pipeline)
            stored = checkpoint.positions.get(source, {})
            foreign = {
                partition
                for partition, committed in partitions.items()
                if committed is not None and not committed.tag.startswith(f"{self._store.id}:")
            }
            await self._drop_foreign(source, foreign, stored)
            await self._restore(partitions.keys())
            self._owners.update(dict.fromkeys(partitions, source))
            return {
                partition: stored.get(partition, committed.position if committed else None)
                for partition, committed in partitions.items()
            }

    def _refuse_twice_owned(self, source: str, partitions: Collection[str]) -> None:
        for partition in partitions:
            owner = self._owners.get(partition, source)
            if owner != source:
                raise Fatal(f"the sources {owner} and {source} both read {partition}")

    async def _drop_foreign(self, source: str, foreign: set[str], stored: dict[str, int]) -> None:
        if not foreign:
            return
        names = ", ".join(sorted(foreign))
        if self._steps.stateful and self._options.on_missing_state == "pause":
            raise Misconfigured(
                f"{names} was last committed by another daemon, whose state is not here;"
                ' set on_missing_state = "reset" to start its state anew'
            )
        if foreign & stored.keys():
            self._log.warning("Another daemon has gone on from here; its position wins", of=names)
        await self._store.drop(self._pipeline, source, foreign)
        for partition in foreign:
            stored.pop(partition, None)

    async def _restore(self, partitions: Collection[str]) -> None:
        for step, stateful in self._steps.stateful.items():
            key = self._steps.state_keys[step]
            rows = await self._store.state(self._pipeline, step, key, partitions)
            stateful.assign(partitions, rows)

    async def revoking(self, partitions: Collection[str]) -> None:
        """Let partitions go in good order: see `Control.revoking`."""
        async with self._lock:
            for partition in partitions:
                self._owners.pop(partition, None)
            if self._ledger.open.touched:
                self._close()
            self._flush()
            last = self._ledger.open.number - 1
        if self._ended:
            await self.lost(partitions)
            return
        if not await self.until_committed(last, self._options.revoke_timeout):
            self._log.warning(
                "Partitions move away with events in flight: their next owner repeats them",
                partitions=sorted(partitions),
            )
        await self.lost(partitions)

    async def lost(self, partitions: Collection[str]) -> None:
        """Partitions have moved away: see `Control.lost`."""
        async with self._lock, self.saving:
            self._ledger.forget(partitions)
            for positions in (*self._moved.values(), *self.owed.values()):
                for partition in partitions:
                    positions.pop(partition, None)
            for stateful in self._steps.stateful.values():
                stateful.revoke(partitions)
            for partition in partitions:
                self._owners.pop(partition, None)
