"""What the parts of a window hand to each other: rows in, chunks of results out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from streamd_windows.aggregates import Aggregate, Column, Count, Order, Table
from streamd_windows.keys import Key, compile_field
from streamd_windows.slices import Slice, Slices

FIXED = frozenset({"window", "id", "start", "end", "key", "pane", "watermark"})


class Rows(NamedTuple):
    """Events of one partition: parallel columns. `fields` has one column per field that is read.

    `order` is empty where no aggregation needs it.
    """

    slice: Slice
    stream: str | None
    keys: list[Key]
    times: list[int]
    values: list[Any]
    offsets: Sequence[int]
    fields: list[list[Any]]
    order: list[Order]

    def take(self, rows: Sequence[int]) -> Rows:
        return Rows(
            self.slice,
            self.stream,
            [self.keys[i] for i in rows],
            [self.times[i] for i in rows],
            [self.values[i] for i in rows],
            [self.offsets[i] for i in rows],
            [[field[i] for i in rows] for field in self.fields],
            [self.order[i] for i in rows] if self.order else [],
        )

    def cut(self, start: int, stop: int) -> Rows:
        if start == 0 and stop >= len(self.times):
            return self
        return self.take(range(start, min(stop, len(self.times))))

    def without(self, rows: Collection[int]) -> Rows:
        gone = set(rows)
        return self.take([i for i in range(len(self.times)) if i not in gone])


class Chunk(NamedTuple):
    """Results that belong to one partition, and the event time of each."""

    slice: Slice
    values: list[dict[str, Any]]
    times: list[int]


class Windower(Protocol):
    """Which windows an event belongs to, what they hold, and when they are done.

    `repeatable` tells whether a replay emits the same results in the same order, whatever else
    arrives in between; if not, offsets of results start anew after a restart. `counted` are things
    that have happened since somebody set them to 0, by the names of metrics.
    """

    slices: Slices
    repeatable: bool
    counted: dict[str, int]

    def restored(self, slice_: Slice) -> None:
        """A slice has come with its state."""
        ...

    def revoked(self, slice_: Slice) -> None:
        """A slice has gone."""
        ...

    def careless(self, time: int) -> int:
        """An event of this time needs no care while the watermark is below what this returns.

        Neither is it late then, nor does it belong to a window that is done. Ascends with `time`,
        and is after it.
        """
        ...

    def cuts(self, times: Sequence[int], marks: Sequence[int]) -> list[int]:
        """Rows before which what the watermark has passed must be done: they come after it."""
        ...

    def add(self, rows: Rows, marks: Sequence[int] | None) -> list[int]:
        """Take events in; returns the rows that are late.

        `marks` is the watermark after each event, None if none of them needs care.
        """
        ...

    def immediate(self, watermark: int | None) -> list[Chunk]:
        """Results that the events added since the last call have made at once."""
        ...

    def advance(self, watermark: int) -> Iterator[list[Chunk]]:
        """Emit and forget what the watermark has passed.

        State is as if what has been yielded, and no more, had been emitted: a caller may stop
        for a while after each item.
        """
        ...

    def early(self, watermark: int | None) -> Iterator[list[Chunk]]:
        """What has changed since it was last emitted, of windows that are still open."""
        ...

    def horizon(self) -> int | None:
        """The watermark that would close everything; None if nothing is open."""
        ...

    def gauges(self) -> Mapping[str, int]:
        """How much is held, by the names of metrics."""
        ...


class Columns:
    """The aggregates of a stage: which columns of cells they need and which fields they read.

    The first column counts the events of each key, whether the config asks for it or not.
    The others go by their names, so that state does not depend on the order of the settings.
    `fields` has for each field a function of (values, now_ms, errors) that gives its column.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.names = [column.name for column in columns]
        self.fields: dict[str, Callable[..., list[Any]]] = {}
        aggregates: list[Aggregate] = [Count()]
        field_of: list[int | None] = [None]
        held: dict[str, int] = {}
        for column in sorted(columns, key=lambda column: column.name):
            if column.field is None:
                continue
            if column.field not in self.fields:
                path = f"aggregate.{column.name}"
                self.fields[column.field] = compile_field(column.field, path)
            held[column.name] = len(aggregates)
            field_of.append(list(self.fields).index(column.field))
            aggregates.append(column.aggregate)
        self.table = Table(aggregates, field_of)
        # Which column of cells each name shows.
        self._shown = [held.get(name, 0) for name in self.names]

    def take_skipped(self) -> dict[str, int]:
        """How many values each name could not use since the last call."""
        skipped = self.table.skipped
        counts = {name: skipped[at] for name, at in zip(self.names, self._shown, strict=True)}
        skipped[:] = [0] * len(skipped)
        return counts

    def results(self, cells: list[dict[Key, Any]], keys: Sequence[Key]) -> list[tuple[Any, ...]]:
        """What the row of each key shows, in the order of `names`."""
        shown, aggregates = self._shown, self.table.aggregates
        lists = [aggregates[column].results(cells[column], keys) for column in shown]
        return list(zip(*lists, strict=True)) if lists else [()] * len(keys)
