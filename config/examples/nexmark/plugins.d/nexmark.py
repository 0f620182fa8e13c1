"""The auction house of the Nexmark benchmark: a source of persons, auctions and bids.

Of every 50 events one is a person, three are auctions and 46 are bids. An event is a function of
its number, so that every run brings the same. Times rise by `apart` and waver by up to two seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

import msgspec

from streamd.api import Batch, Plugin, StageConfig, StageContext, doc, hookimpl, partition_name

PARTITION = partition_name("nexmark")
START = 1_763_548_200_000  # 2025-11-19T10:30:00Z
DISORDER = 2_000  # ms
_PERSONS, _AUCTIONS, _ALL = 1, 3, 50


def event(number: int, apart: int) -> dict[str, Any]:
    """The event with this number; `apart` is in ms."""
    dice = _Dice(number)
    at = START + number * apart - dice.below(DISORDER)
    epoch, place = divmod(number, _ALL)
    if place < _PERSONS:
        return {"kind": "person", "at": at, "id": epoch, "name": f"person {epoch}"}
    if place < _PERSONS + _AUCTIONS:
        auction = epoch * _AUCTIONS + place - _PERSONS
        seller = max(0, epoch - dice.below(20))
        return {"kind": "auction", "at": at, "id": auction, "seller": seller}
    return {
        "kind": "bid",
        "at": at,
        "auction": max(0, epoch * _AUCTIONS - dice.below(30)),
        "bidder": max(0, epoch - dice.below(100)),
        "price": 100 + dice.below(1_000_000),
    }


class _Dice:
    """A small generator of its own: the same numbers in every version of Python."""

    def __init__(self, seed: int) -> None:
        self._state = seed * 2_654_435_761 + 1

    def below(self, limit: int) -> int:
        self._state = (self._state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        return (self._state >> 33) % limit


class NexmarkSource:
    """Bring the events of the Nexmark benchmark."""

    class Config(StageConfig, frozen=True, kw_only=True):
        count: Annotated[int, doc("End after so many events.")] = 10_000
        apart: Annotated[int, doc("Time from one event to the next, in ms.")] = 20

    resumes = True

    def __init__(self, config: Config, context: StageContext) -> None:
        assert context.control is not None
        self._config = config
        self._control = context.control
        self._next: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    def exhausted(self) -> bool:
        return self._next is not None and self._next >= self._config.count

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:  # noqa: ARG002
        if self._next is None:
            positions = await self._control.assigned({PARTITION: None})
            self._next = positions[PARTITION] or 0
        numbers = range(self._next, min(self._next + max_events, self._config.count))
        if not numbers:
            return []
        self._next = numbers.stop
        events = [event(number, self._config.apart) for number in numbers]
        raws = [msgspec.json.encode(each) for each in events]
        times = [each["at"] for each in events]
        return [Batch.of_raws(raws, partition=PARTITION, offsets=numbers, timestamps=times)]

    async def commit(self, positions: Mapping[str, int], tag: str) -> None:
        """Positions are kept by the engine alone."""


class HighestBid:
    """An aggregation of one's own: the highest bid, the lowest auction of several."""

    Config = StageConfig

    def create(self) -> dict[str, Any]:
        return {}

    def add(self, cell: dict[str, Any], value: Any) -> dict[str, Any]:
        bid = {name: value[name] for name in ("price", "auction", "bidder")}
        return self.merge(cell, bid)

    def merge(self, mine: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        if not mine or not other:
            return mine or other
        return max(mine, other, key=lambda bid: (bid["price"], -bid["auction"], -bid["bidder"]))

    def result(self, cell: dict[str, Any]) -> dict[str, Any]:
        return cell


@hookimpl
def streamd_plugins() -> list[Plugin]:
    return [
        Plugin("source", "nexmark", NexmarkSource),
        Plugin("aggregate", "highest_bid", HighestBid),
    ]
