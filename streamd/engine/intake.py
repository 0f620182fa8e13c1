"""What the sources of a pipeline share: the chain, the cut between two batches, the budget.

Everything that touches the steps or closes an epoch happens under one lock, so that a cut always
falls between two batches: positions and state of an epoch belong to the same moment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio

from streamd.api import Batch, Fatal, Stateful
from streamd.engine.active_time import ActiveTime
from streamd.engine.chain import Chain, TimedStep
from streamd.engine.ledger import Change, Cut, Ledger
from streamd.engine.signal import Signal
from streamd.engine.slot import Slot
from streamd.engine.store import Positions
from streamd.engine.suspects import Suspects
from streamd.engine.turns import Turns
from streamd.engine.wiring import Wiring
from streamd.settings.model import PipelineOptions

MOST_UNFINISHED = 4
"""Closed epochs that may be incomplete; after that the open one grows."""

_MOST_ROUNDS = 10_000

Enter = Callable[[Sequence[int]], Awaitable[None]]


class Intake:
    """Where the sources of one pipeline hand their batches in.

    `owed` holds positions that are durable but not committed at their source yet.
    """

    def __init__(self, options: PipelineOptions, ledger: Ledger, suspects: Suspects) -> None:
        self.progress = Signal()
        self.owners: dict[str, str] = {}
        self.owed: Positions = {}
        self.active_time = ActiveTime()
        self._options = options
        self._chain: Chain
        self._state_keys: Mapping[str, str] = {}
        self._stateful: Mapping[str, Stateful] = {}
        self._timed: Collection[TimedStep] = ()
        self._slots: Collection[Slot] = ()
        self._ledger = ledger
        self._suspects = suspects
        self.turns = Turns()
        self._known: set[str] = set()
        self._leaving: set[str] = set()
        self._gone: set[str] = set()
        self._moved: Positions = {}
        self.durable_epoch = ledger.open.number - 1
        self._progressed_at = 0.0
        self._urgent = False

    def rewire(self, options: PipelineOptions, wiring: Wiring) -> None:
        """Take another version of the chain. Call it between two batches."""
        self._options = options
        self._chain = wiring.chain
        self._stateful, self._state_keys = wiring.stateful, wiring.state_keys
        self._timed = wiring.timed
        self._slots = wiring.slots.values()

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

    async def take(self, source: str, batches: list[Batch]) -> None:
        """Run batches through the chain, but for those of partitions that have moved away."""
        async with self.between_batches():
            with self.turns.whole():
                for batch in batches:
                    if len(batch) and self._is_ours(batch):
                        await self._enter(source, batch)
                await self._tick()
            urgent, self._urgent = self._urgent, False
            urgent = urgent or self._suspects.searching(anyio.current_time())
            self._suspects.all_went_well()
            self._close_if_due(urgent=urgent)

    async def inject(self, events: int, size: int, enter: Enter) -> int:
        """Let events in that no source has read: they move no position. Returns their epoch.

        Call it between two batches; `enter(epochs)` puts them where they go.
        """
        self._begins()
        self._ledger.read(events, size)
        epoch = self._ledger.open.number
        with self.turns.whole():
            await enter((epoch,))
        self._close_if_due(urgent=True)
        return epoch

    @asynccontextmanager
    async def between_batches(self) -> AsyncIterator[None]:
        """Hold the chain still. Partitions that were lost meanwhile are let go on both sides."""
        async with self.turns.turn():
            self._let_go()
            try:
                yield
            finally:
                self._let_go()

    def _is_ours(self, batch: Batch) -> bool:
        partitions = {span.partition for span in batch.spans}
        if not partitions <= self._known:
            raise Fatal(
                f"a source gave events of {partitions - self._known} before it was assigned"
            )
        return all(name in self.owners and name not in self._leaving for name in partitions)

    async def _enter(self, source: str, batch: Batch) -> None:
        self._begins()
        self._ledger.read(len(batch), batch.size)
        await self._chain.enter(source, batch, (self._ledger.open.number,))
        moved = self._moved.setdefault(source, {})
        for span in batch.spans:
            if span.partition in self.owners:
                moved[span.partition] = span.stop

    async def finish(self) -> None:
        """All sources have come to their end: no step need wait for more."""
        self.active_time.end()
        for _ in range(_MOST_ROUNDS):
            async with self.between_batches():
                with self.turns.whole():
                    if not await self._tick():
                        return
            while self.full:
                self.flush()
                await self.progress.wait()

    async def _tick(self) -> bool:
        active = self.active_time.advance()
        found = False
        for step, stream, first, outlet in self._timed:
            for batch in step.tick(active):
                if len(batch):
                    found = True
                    self._begins()
                    self._ledger.open.touched = True
                    epochs = (self._ledger.open.number,)
                    if outlet.leaving:
                        outlet.leaves(batch.stream or stream, batch)
                    if batch.stream is None:
                        await self._chain.run(stream, batch, epochs, first)
                    else:
                        await self._chain.run(batch.stream, batch, epochs)
        return found

    # --- the cut -------------------------------------------------------------------------

    async def close(self) -> int:
        """Close the open epoch now if anything is in it, and hurry what is closed.

        Returns the number of the last closed epoch.
        """
        async with self.between_batches():
            self.cut()
            self.flush()
            return self._ledger.open.number - 1

    def cut(self) -> None:
        """Close the open epoch if anything is in it. Call it between two batches."""
        if self._ledger.open.touched:
            self._close()

    async def close_if_due(self, *, urgent: bool = False) -> None:
        """Close the epoch if its time has come, or at once if somebody waits for an answer.

        Does not wait for a batch that is in the chain, which a failing step may keep for long:
        whoever runs it closes the epoch afterwards.
        """
        if self.turns.taken:
            self._urgent = self._urgent or urgent
            return
        async with self.between_batches():
            self._close_if_due(urgent=urgent)

    def _close_if_due(self, *, urgent: bool = False) -> None:
        epoch, options = self._ledger.open, self._options
        hurry = urgent or self.full
        if epoch.touched and self._ledger.unfinished < MOST_UNFINISHED:
            old = anyio.current_time() - epoch.opened >= options.epoch_time
            if hurry or old or epoch.events >= options.epoch_events:
                self._close()
        if hurry:
            self.flush()

    def _close(self) -> None:
        self._let_go()
        changes: list[Change] = [
            (step, self._state_keys[step], partition, key, value)
            for step, stateful in self._stateful.items()
            for partition, key, value in stateful.take_changes()
        ]
        self._ledger.close(Cut(self._moved, changes), anyio.current_time())
        self._moved = {}
        self.progress.set()

    def flush(self) -> None:
        """Let the sinks write what they have, and all that still comes of closed epochs."""
        for slot in self._slots:
            slot.flush(self._ledger.open.number - 1)

    # --- progress ------------------------------------------------------------------------

    def durable(self, epoch: int, positions: Positions) -> None:
        """The checkpoint of an epoch is stored; its positions are to be committed."""
        self.durable_epoch = epoch
        for source, moved in positions.items():
            self.owe(source, moved)
        self._progressed_at = anyio.current_time()
        self.progress.set()

    def owe(self, source: str, positions: Mapping[str, int]) -> None:
        """These positions are to be committed, of partitions that the source still reads."""
        owed = self.owed.setdefault(source, {})
        owed.update({p: at for p, at in positions.items() if self.owners.get(p) == source})
        self.progress.set()

    def paid(self, source: str, positions: Mapping[str, int]) -> None:
        """These positions are committed; what has become durable since is still owed."""
        owed = self.owed.get(source, {})
        for partition, position in positions.items():
            if owed.get(partition) == position:
                del owed[partition]
        self.progress.set()

    async def until_committed(self, epoch: int, partitions: Collection[str] | None = None) -> None:
        """Wait until all epochs up to this are durable and committed (for these partitions)."""
        while self.durable_epoch < epoch or self._owes(partitions):
            await self.progress.wait()

    def _owes(self, partitions: Collection[str] | None) -> bool:
        if partitions is None:
            return any(self.owed.values())
        return any(p in owed for owed in self.owed.values() for p in partitions)

    @property
    def stalled_for(self) -> float:
        """Seconds since an epoch was done while events are in flight; 0 when idle."""
        return 0.0 if self._ledger.idle else anyio.current_time() - self._progressed_at

    def _begins(self) -> None:
        if self._ledger.idle:
            self._progressed_at = anyio.current_time()

    # --- partitions ----------------------------------------------------------------------

    def own(self, source: str, partitions: Collection[str]) -> None:
        """The source reads these from now on. Call it between two batches.

        Those that were lost while they were being taken over are not ours after all.
        """
        self._known.update(partitions)
        partitions = set(partitions) - self._gone
        self._leaving.difference_update(partitions)
        self.owners.update(dict.fromkeys(partitions, source))

    def leave(self, partitions: Collection[str]) -> None:
        """Take no more of these; what is in flight still counts."""
        self._leaving.update(partitions)

    def forget(self, partitions: Collection[str]) -> None:
        """These have moved away: nothing of them is stored or committed any more.

        Does not wait; a step that is at work on them forgets them once its batch is through.
        """
        self._ledger.forget(partitions)
        for positions in (*self._moved.values(), *self.owed.values()):
            for partition in partitions:
                positions.pop(partition, None)
        for partition in partitions:
            self.owners.pop(partition, None)
        self._gone.update(partitions)
        if not self.turns.taken:
            self._let_go()
        self.progress.set()

    def _let_go(self) -> None:
        if self._gone:
            for stateful in self._stateful.values():
                stateful.revoke(self._gone)
            self._gone = set()
