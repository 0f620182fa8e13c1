"""A source of made-up events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Self

import anyio
import anyio.lowlevel
from msgspec import Meta

from streamd.api import Batch, ConfigError, StageConfig, StageContext, doc, partition_name
from streamd_generator.events import Events

TOPIC = "generator"
_BURST = 1.0  # seconds of events that are made up for after a pause


class GeneratorSource:
    """Make up events, at a rate or as fast as they are taken."""

    class Config(StageConfig, frozen=True, kw_only=True):
        rate: Annotated[float, doc("Events per second; 0: as many as are taken."), Meta(ge=0)] = (
            10.0
        )
        count: Annotated[
            Annotated[int, Meta(ge=0)] | None, doc("End after so many events; none: never.")
        ] = None
        partitions: Annotated[int, doc("Partitions to spread them over."), Meta(ge=1)] = 1
        seed: Annotated[int, doc("Another seed makes other events.")] = 0
        invalid: Annotated[
            float, doc("Share of events that break a rule or are no JSON."), Meta(ge=0, le=1)
        ] = 0.0
        start: Annotated[
            str | None,
            doc(
                "Time of the first event, the others following at the rate (a millisecond apart"
                " without one), so that a second run gives the same bytes; none: the clock's.",
                example="2025-11-19T10:30:00Z",
            ),
        ] = None

    resumes = True

    def __init__(self, config: Config, context: StageContext) -> None:
        assert context.control is not None
        self._config = config
        self._control = context.control
        self._clock = context.clock
        self._start = _milliseconds(config.start)
        self._events = Events(config.seed, config.invalid)
        self._next: list[int] = []  # offset, by partition
        self._credit = 0.0
        self._credited = 0.0

    async def __aenter__(self) -> Self:
        self._credited = anyio.current_time()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    def exhausted(self) -> bool:
        return bool(self._next) and self._remaining() == 0

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        if not self._next:
            await self._assign()
        wanted = min(max_events, self._remaining())
        if self._config.rate and wanted:
            wanted = min(wanted, await self._earn(timeout))
        await anyio.lowlevel.checkpoint()
        return list(self._batches(wanted))

    async def commit(self, positions: Mapping[str, int], tag: str) -> None:
        """Positions are kept by the engine alone."""

    async def _assign(self) -> None:
        names = [partition_name(TOPIC, number) for number in range(self._config.partitions)]
        resume = await self._control.assigned(dict.fromkeys(names))
        self._next = [resume[name] or 0 for name in names]

    def _remaining(self) -> int:
        if self._config.count is None:
            return 1 << 62
        return sum(max(0, self._end(number) - at) for number, at in enumerate(self._next))

    def _end(self, number: int) -> int:
        """Offset at which a partition ends."""
        count, partitions = self._config.count, self._config.partitions
        return 1 << 62 if count is None else (count + partitions - 1 - number) // partitions

    async def _earn(self, timeout: float) -> int:
        """How many events are due, after waiting for the first."""
        rate = self._config.rate
        self._collect()
        if self._credit < 1:
            await anyio.sleep(min(timeout, (1 - self._credit) / rate))
            self._collect()
        return int(self._credit)

    def _collect(self) -> None:
        now = anyio.current_time()
        earned = (now - self._credited) * self._config.rate
        # The least bit more than 1, as a sleep may end a rounding error too early.
        most = max(self._config.rate * _BURST, 1.0)
        self._credit = min(self._credit + earned + 1e-9, most)
        self._credited = now

    def _batches(self, wanted: int) -> Iterator[Batch]:
        """Those that are behind first, so that partitions stay together after a restart."""
        order = sorted(range(len(self._next)), key=self._next.__getitem__)
        for done, number in enumerate(order):
            first = self._next[number]
            share = -(-wanted // (len(order) - done))
            offsets = range(first, min(first + share, self._end(number)))
            if offsets:
                wanted -= len(offsets)
                self._credit -= len(offsets)
                self._next[number] = offsets.stop
                yield self._batch(number, offsets)

    def _batch(self, number: int, offsets: range) -> Batch:
        partitions = self._config.partitions
        numbers = range(
            offsets.start * partitions + number, offsets.stop * partitions + number, partitions
        )
        if self._start is None:
            timestamps = [self._clock.now_ms()] * len(offsets)
        else:
            apart = 1000 / self._config.rate if self._config.rate else 1
            timestamps = [self._start + int(n * apart) for n in numbers]
        return Batch.of_raws(
            self._events.raws(numbers, timestamps),
            partition=partition_name(TOPIC, number),
            offsets=offsets,
            timestamps=timestamps,
        )


def _milliseconds(start: str | None) -> int | None:
    if start is None:
        return None
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        raise ConfigError(f"no RFC 3339 time: {error}", path="start") from None
    if moment.tzinfo is None:
        raise ConfigError(f"{start} has no time zone: write {start}Z for UTC", path="start")
    return round(moment.timestamp() * 1000)
