"""Partitions that come and go: which of us owns the next event, and whose state is true."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import anyio

from streamd.api import NOTHING_READ, Committed, Fatal, Logger, Misconfigured
from streamd.engine.intake import Intake
from streamd.engine.store import Positions, Store
from streamd.engine.wiring import Wiring
from streamd.settings.model import PipelineOptions


class Assignment:
    """The engine's side of all sources of a pipeline, behind `context.control`.

    `saving` is held while a checkpoint is being stored.
    """

    def __init__(
        self,
        pipeline: str,
        options: PipelineOptions,
        *,
        intake: Intake,
        store: Store,
        saving: anyio.Lock,
        log: Logger,
    ) -> None:
        self._pipeline = pipeline
        self._options = options
        self._intake = intake
        self._wiring: Wiring
        self._store = store
        self._saving = saving
        self._log = log
        self._ended = False
        self._waiting: set[anyio.CancelScope] = set()

    def rewire(self, options: PipelineOptions, wiring: Wiring) -> None:
        """Other steps keep the state from now on."""
        self._options, self._wiring = options, wiring

    def end(self) -> None:
        """Nothing writes or commits any more: nobody need wait for it."""
        self._ended = True
        self._intake.turns.end()
        for scope in self._waiting:
            scope.cancel()

    async def assigned(
        self, source: str, partitions: Mapping[str, Committed | None]
    ) -> dict[str, int | None]:
        """Take partitions over: see `Control.assigned`."""
        # Not while a checkpoint is being stored: it may still hold these partitions as they were.
        async with self._intake.between_batches(), self._saving:
            self._refuse_twice_owned(source, partitions)
            known = await self._store.positions(self._pipeline, partitions.keys())
            stored = _stored(known, source)
            foreign = {
                partition
                for partition, committed in partitions.items()
                if committed is not None and self._is_foreign(committed)
            }
            await self._drop_foreign(foreign, stored)
            for step, stateful in self._wiring.stateful.items():
                if source in self._wiring.feeds[step]:
                    key = self._wiring.state_keys[step]
                    rows = await self._store.state(self._pipeline, step, key, partitions.keys())
                    try:
                        stateful.assign(partitions.keys(), rows)
                    except Misconfigured as error:  # told by the source, which is not at fault
                        raise Misconfigured(f"{step}: {error}") from error
            self._intake.own(source, partitions.keys())
            # A crash came between store and commit: the broker is to know what is durable.
            self._intake.owe(
                source, {p: at for p, at in stored.items() if _behind(partitions[p], at)}
            )
            return {
                partition: stored.get(partition, committed.position if committed else None)
                for partition, committed in partitions.items()
            }

    def _is_foreign(self, committed: Committed) -> bool:
        tag = committed.tag
        return tag != NOTHING_READ and not tag.startswith(f"{self._store.id}:")

    def _refuse_twice_owned(self, source: str, partitions: Collection[str]) -> None:
        for partition in partitions:
            owner = self._intake.owners.get(partition, source)
            if owner != source:
                raise Fatal(f"the sources {owner} and {source} both read {partition}")

    async def _drop_foreign(self, foreign: set[str], stored: dict[str, int]) -> None:
        if not foreign:
            return
        names = ", ".join(sorted(foreign))
        if self._wiring.stateful and self._options.on_missing_state == "pause":
            raise Misconfigured(
                f"{names} was last committed by another daemon, whose state is not here;"
                ' set on_missing_state = "reset" to start its state anew'
            )
        if foreign & stored.keys():
            self._log.warning("Another daemon has gone on from here; its position wins", of=names)
        await self._store.drop(self._pipeline, foreign)
        for partition in foreign:
            stored.pop(partition, None)

    async def revoking(self, partitions: Collection[str]) -> None:
        """Let partitions go in good order: see `Control.revoking`."""
        self._intake.leave(partitions)
        try:
            if not self._ended:
                await self._finish(partitions)
        finally:
            self._intake.forget(partitions)

    async def _finish(self, partitions: Collection[str]) -> None:
        with anyio.move_on_after(self._options.revoke_timeout) as in_time:
            self._waiting.add(in_time)
            last = await self._intake.close()
            await self._intake.until_committed(last, partitions)
        self._waiting.discard(in_time)
        if in_time.cancelled_caught and not self._ended:
            self._log.warning(
                "Partitions move away with events in flight: their next owner repeats them",
                partitions=sorted(partitions),
            )

    def lost(self, partitions: Collection[str]) -> None:
        """Partitions have moved away: see `Control.lost`."""
        self._intake.forget(partitions)


def _behind(committed: Committed | None, position: int) -> bool:
    return committed is None or committed.position != position


def _stored(known: Positions, source: str) -> dict[str, int]:
    """The positions of a source; those of a source that was called otherwise count as well.

    The state of the steps knows partitions, not sources: both must be of one moment.
    """
    stored: dict[str, int] = {}
    for positions in known.values():
        stored.update(positions)
    return stored | known.get(source, {})
