"""Runs of a window stage by itself: sources that take turns, checkpoints, crashes, a sink."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec

from streamd.api import Batch, Rejects, Span
from streamd.testing import FakeClock, stage_context
from streamd_windows import cells, panes, shards
from streamd_windows.stage import WindowStage

START = 1_763_548_200_000  # 2025-11-19T10:30:00Z
Store = dict[tuple[str, bytes], bytes]


class Event(NamedTuple):
    """`time` is in ms since START; `stream` matters to joins only."""

    time: int
    key: Any = None
    value: Any = None
    stream: str = "main"

    def as_dict(self) -> dict[str, Any]:
        return {"k": self.key, "v": self.value, "t": START + self.time}


Partitions = Mapping[str, Sequence[Event]]


def make(cls: Any, clock: FakeClock | None = None, **settings: Any) -> Any:
    """A stage with the id `w`. Settings are converted like those of a file."""
    context = settings.pop("context", {})
    config = converted(cls, settings)
    context.setdefault("inputs", config.reads() or ("main",))
    return cls(config, stage_context("window", stage="w", clock=clock or FakeClock(), **context))


def converted(cls: Any, settings: Mapping[str, Any]) -> Any:

    def hook(kind: type, value: Any) -> Any:
        return kind(value)

    return msgspec.convert(settings, cls.Config, dec_hook=hook)


def batch(
    events: Sequence[Event],
    partition: str = "e:0",
    first: int = 0,
    offsets: Sequence[int] | None = None,
) -> Batch:
    """Events of one stream as the batch of one partition."""
    if offsets is None:
        offsets = range(first, first + len(events))
    return Batch(
        [event.as_dict() for event in events],
        offsets=list(offsets),
        timestamps=[START + event.time for event in events],
        spans=[Span(partition, first, first + len(events), len(events))],
        stream=events[0].stream if events else "main",
    )


class Sink:
    """What a sink that overwrites by id would hold.

    `steady`: no event is late in one run and not in another, so that offsets are for good.
    """

    def __init__(self, *, steady: bool = True) -> None:
        self.steady = steady
        self.rows: dict[str, dict[str, Any]] = {}
        self.places: dict[tuple[str, int], str] = {}
        self.order: list[dict[str, Any]] = []
        self.late: list[Any] = []
        self.rejects: list[Any] = []

    def take(self, results: Iterable[Batch | Rejects]) -> None:
        for result in results:
            if isinstance(result, Rejects):
                self.rejects += result.rows.values()
            elif result.stream is not None:
                self.late += result.values
            else:
                assert len(result.values) == len(result.offsets) == len(result.timestamps)
                self.order += result.values
                for at, row in enumerate(result.values):
                    self.rows[row["id"]] = row
                    place = result.locate(at)
                    # An offset names one row for good, whatever is replayed.
                    known = self.places.setdefault(place, row["id"])
                    assert known == row["id"] or not self.steady, place


# Cells before a group is split, cells that come and cells that wait before they are merged, and
# rows that are emitted at a time.
LIMITS = [(cells.SPLIT, cells.SPREAD, shards.WAITING, panes.CHUNK), (2, 1, 0, 1), (4, 3, 5, 2)]


def limit(split: int, spread: int, waiting: int, chunk: int) -> None:
    """Set the limits of all windows."""
    cells.SPLIT, cells.SPREAD, shards.WAITING, panes.CHUNK = split, spread, waiting, chunk


class Run:
    """One source with several partitions, the stage, its store and its sink.

    `random` decides how the partitions take turns and where batches are cut.
    """

    def __init__(
        self, build: Callable[[FakeClock], WindowStage], partitions: Partitions, random: Random
    ) -> None:
        self.build = build
        self.partitions = partitions
        self.random = random
        self.clock = FakeClock(START)
        self.sink = Sink()
        self.store: Store = {}
        self.stored_positions = dict.fromkeys(partitions, 0)
        self.positions: dict[str, int] = {}
        # What was read in which order: (partition, first offset, events) of each poll.
        self.trace: list[tuple[str, int, Sequence[Event]]] = []
        self.active = 0.0
        self.restart()

    def restart(self) -> None:
        """A new process: what is not in the store is forgotten."""
        self.clock.advance(1)
        # Each life keeps its cells in another way, which nobody must notice.
        limit(*self.random.choice(LIMITS))
        self.stage = self.build(self.clock)
        self.positions = dict(self.stored_positions)
        rows = [(partition, key, value) for (partition, key), value in self.store.items()]
        self.random.shuffle(rows)
        self.stage.assign(list(self.partitions), rows)
        self.stage.tick(self.active)

    def checkpoint(self) -> None:
        for partition, key, value in self.stage.take_changes():
            if value is None:
                assert self.store.pop((partition, key), None) is not None, "removed what is there"
            else:
                self.store[partition, key] = value
        self.stored_positions = dict(self.positions)

    def step(self) -> bool:
        """Poll one partition; False when all have been read."""
        left = [p for p, events in self.partitions.items() if self.positions[p] < len(events)]
        if not left:
            return False
        partition = self.random.choice(left)
        first = self.positions[partition]
        events = self.partitions[partition][first : first + self.random.randint(1, 8)]
        # As after a split: one stream's share of the poll, then the other's.
        streams = sorted({event.stream for event in events})
        self.random.shuffle(streams)
        for stream in streams:
            rows = [row for row, event in enumerate(events) if event.stream == stream]
            share, offsets = [events[row] for row in rows], [first + row for row in rows]
            self.sink.take(self.stage.process(batch(share, partition, first, offsets)))
        self.positions[partition] = first + len(events)
        self.trace.append((partition, first, events))
        self.sink.take(self.stage.tick(self.active))
        return True

    def finish(self) -> None:
        """Let all fall silent, so that what is open closes by the wall clock."""
        self.clock.now += 10_000_000_000
        for _ in range(3):
            self.active += 1000.0
            self.sink.take(self.stage.tick(self.active))

    def whole(self, crashes: float = 0.0, checkpoints: float = 0.0) -> Sink:
        """Read everything, with checkpoints and crashes after a step as probable as given."""
        left = 5
        while self.step():
            if self.random.random() < checkpoints:
                self.checkpoint()
            if left and self.random.random() < crashes:
                left -= 1
                self.restart()
        self.finish()
        self.checkpoint()
        return self.sink


def drive(stage: Any, *batches: Batch, active: float = 0.0) -> Sink:
    """The results of some batches, each followed by a tick."""
    sink = Sink()
    for each in batches:
        sink.take(stage.process(each))
        sink.take(stage.tick(active))
    return sink
