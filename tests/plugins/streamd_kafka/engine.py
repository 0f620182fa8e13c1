"""The engine's side of a source, as far as a rebalance needs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from streamd.api import Batch, Committed
from streamd.testing import FakeControl
from streamd_kafka.source import KafkaSource
from tests.plugins.streamd_kafka.helpers import positions_after, raws_of


class Engine(FakeControl):
    """Takes what the source gives, and commits all of it when partitions are about to move."""

    def __init__(self, tag: str = "store:1") -> None:
        super().__init__()
        self.tag = tag
        self.source: KafkaSource | None = None
        self.owned: set[str] = set()
        self.raws: list[bytes] = []
        self.done: dict[str, int] = {}

    async def assigned(self, partitions: Mapping[str, Committed | None]) -> dict[str, int | None]:
        self.owned |= set(partitions)
        return await super().assigned(partitions)

    async def revoking(self, partitions: Collection[str]) -> None:
        await super().revoking(partitions)
        await self.commit()
        self._drop(partitions)

    async def lost(self, partitions: Collection[str]) -> None:
        await super().lost(partitions)
        self._drop(partitions)

    def take(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            assert batch.spans[0].partition in self.owned
        self.raws += raws_of(batches)
        self.done |= positions_after(batches)

    async def commit(self) -> None:
        assert self.source is not None
        await self.source.commit(self.done, self.tag)

    def _drop(self, partitions: Collection[str]) -> None:
        self.owned -= set(partitions)
        self.done = {name: at for name, at in self.done.items() if name not in partitions}
