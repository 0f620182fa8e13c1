"""Which partitions are ours: the consumer group's side and the engine's side of it.

A rebalance runs in a task of the client's. Its callbacks do as little as they can: a revocation
waits for the engine (bounded there), an assignment only notes what is new. The rest, which needs
the broker and the engine, is done by the next poll.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, RebalanceInProgressError

from streamd.api import Committed, Control, Logger, partition_name
from streamd_kafka.problems import describe


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """`owned` are the partitions that the engine knows to be ours, `pending` those that the
    group has given us and the engine does not know of yet, nothing of which is read."""

    def __init__(self, consumer: AIOKafkaConsumer, control: Control, log: Logger) -> None:
        self.owned: set[TopicPartition] = set()
        self.pending: set[TopicPartition] = set()
        self._consumer = consumer
        self._control = control
        self._log = log
        self._generation = 0
        self._revoking = False
        self._failure: Exception | None = None
        # The engine is told of one change at a time. Never held while polling, as a poll may wait
        # for a rebalance, and that for a callback of ours.
        self._telling = asyncio.Lock()

    def raise_failure(self) -> None:
        """Raises what went wrong in a callback, where the client would only log it."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        self._generation += 1
        self.pending.clear()
        async with self._telling:
            if not self.owned:
                return
            self._revoking = True
            try:
                if self._expelled():
                    await self._control.lost(names(self.owned))
                else:
                    await self._control.revoking(names(self.owned))
            except Exception as error:
                self._failure = error
            finally:
                self._revoking = False
                self.owned.clear()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._generation += 1
        partitions = list(assigned)
        self._consumer.pause(*partitions)
        for partition in partitions:
            # Some position, or the client asks the broker for one by itself.
            self._consumer.seek(partition, 0)
        self.pending = set(partitions)

    @property
    def generation(self) -> int:
        """Changes whenever the group moves partitions."""
        return self._generation

    async def resume(
        self,
        generation: int,
        committed: dict[TopicPartition, Committed | None],
        starts: dict[TopicPartition, int],
        begin: Callable[[dict[TopicPartition, int]], Awaitable[None]],
    ) -> None:
        """Hand new partitions to the engine and read them from where it says.

        Without a word from it: from what the group has committed, else from `starts`, of which
        `begin` is told first. Nothing is done if the group has moved partitions since
        `generation`; the next poll does it then.
        """
        async with self._telling:
            if generation != self._generation:
                return
            self.owned |= set(committed)
            answer = await self._control.assigned(
                {partition_name(*partition): known for partition, known in committed.items()}
            )
            if generation != self._generation:
                return  # a callback waits for the lock, and will take them back
            positions, unknown = {}, {}
            for partition, known in committed.items():
                position = answer.get(partition_name(*partition))
                if position is not None:
                    positions[partition] = position
                elif known is not None:
                    positions[partition] = known.position
                else:
                    unknown[partition] = starts[partition]
            if unknown:
                await begin(unknown)
                if generation != self._generation:
                    return
            for partition, position in (positions | unknown).items():
                self._consumer.seek(partition, position)
            self._consumer.resume(*committed)
            self.pending -= set(committed)
            self._log.info("Partitions assigned", partitions=sorted(names(committed)))

    async def refused(self, error: CommitFailedError) -> None:
        """The broker did not take a commit, as it does not count us as a member any more."""
        self._log.warning("Commit refused", error=describe(error.__cause__ or error))
        # In a rebalance the revocation has told the engine, or is just about to end.
        if not self._revoking and not isinstance(error.__cause__, RebalanceInProgressError):
            await self.give_up()

    async def give_up(self) -> None:
        """What is ours is not, from now on."""
        lost, self.owned = self.owned, set()
        if lost:
            self._log.warning("Partitions lost", partitions=sorted(names(lost)))
            await self._control.lost(names(lost))

    def _expelled(self) -> bool:
        """Whether the group goes on without us, so that no commit can succeed."""
        return bool(self._consumer._coordinator.generation < 0)


def names(partitions: Iterable[TopicPartition]) -> set[str]:
    return {partition_name(*partition) for partition in partitions}
