"""What travels through a pipeline: batches of events as parallel lists, no wrapper per event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

Header = tuple[str, bytes]

VALID = "valid"
FAILED = "failed"


class Span(NamedTuple):
    """Rows of a batch that come from one partition of one source, in the order of the source.

    `partition` is `"<topic>:<number>"` (see `partition_name`). `start` is the position of the
    first event that was read for the span, `stop` the position from which the source goes on
    after it; both count events that a step has removed since. `rows` is how many rows of the
    batch belong to the span now: the spans of a batch cover its rows one after the other.
    """

    partition: str
    start: int
    stop: int
    rows: int


def partition_name(topic: str, number: int = 0) -> str:
    """The one spelling of a source partition: `"events:3"`, `"/var/log/app.jsonl:0"`."""
    return f"{topic}:{number}"


def split_partition(partition: str) -> tuple[str, int]:
    """The topic and number of a partition name.

    Raises ValueError if the name was not made by `partition_name`.
    """
    topic, _, number = partition.rpartition(":")
    return topic, int(number)


class Batch:
    """Events in the order of their source, as parallel lists of equal length.

    - `values`: the decoded events (dict, msgspec.Struct or any JSON value). Empty while the
      batch is not decoded yet; `decoded` tells.
    - `raws`: each event as it arrived, byte for byte (None for a Kafka tombstone); None as a
      whole for rows that a step has made.
    - `offsets`: position of each event in its partition, ascending within a span.
    - `timestamps`: event time in milliseconds since the epoch, UTC.
    - `keys`, `headers`: as the source gave them; None where it has none at all.
    - `statuses`: validation status per row, `VALID` or `FAILED`; None means all valid.
    - `spans`: where the rows come from. One for a source batch, several after a slot has merged.
    - `stream`: where a step sends the batch: None means the step's own output.

    A batch is shared by every stage that reads its stream: a step that changes events makes new
    ones and never mutates `values`, nor the objects in it.
    """

    __slots__ = (
        "_size",
        "headers",
        "keys",
        "offsets",
        "raws",
        "spans",
        "statuses",
        "stream",
        "timestamps",
        "values",
    )

    def __init__(
        self,
        values: list[Any],
        *,
        offsets: Sequence[int],
        timestamps: Sequence[int],
        spans: list[Span],
        raws: Sequence[bytes | None] | None = None,
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Sequence[Header] | None] | None = None,
        statuses: Sequence[str] | None = None,
        stream: str | None = None,
    ) -> None:
        self.values = values
        self.offsets = offsets
        self.timestamps = timestamps
        self.spans = spans
        self.raws = raws
        self.keys = keys
        self.headers = headers
        self.statuses = statuses
        self.stream = stream
        self._size: int | None = None

    @classmethod
    def of_raws(
        cls,
        raws: Sequence[bytes | None],
        *,
        partition: str,
        offsets: Sequence[int],
        timestamps: Sequence[int],
        stop: int | None = None,
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Sequence[Header] | None] | None = None,
    ) -> Batch:
        """What a source returns from one partition: bytes that the stage's codec will decode.

        `stop` is the position to resume from after this batch; by default the last offset + 1.
        """
        end = offsets[-1] + 1 if stop is None else stop
        span = Span(partition, offsets[0], end, len(raws))
        return cls(
            [],
            offsets=offsets,
            timestamps=timestamps,
            spans=[span],
            raws=raws,
            keys=keys,
            headers=headers,
        )

    def __len__(self) -> int:
        return len(self.offsets)

    def __repr__(self) -> str:
        return f"Batch({len(self)} rows, {self.spans})"

    @property
    def decoded(self) -> bool:
        """Whether `values` holds the events."""
        return len(self.values) == len(self.offsets)

    @property
    def size(self) -> int:
        """Bytes of the events as they arrived; 0 for derived rows."""
        if self._size is None:
            self._size = sum(map(len, filter(None, self.raws))) if self.raws else 0
        return self._size

    def locate(self, row: int) -> tuple[str, int]:
        """Partition and offset of a row, the identity of an event.

        Raises IndexError if the batch has no such row.
        """
        first = 0
        for span in self.spans:
            if row < first + span.rows:
                return span.partition, self.offsets[row]
            first += span.rows
        raise IndexError(row)

    def replace(self, values: list[Any], *, stream: str | None = None) -> Batch:
        """The same rows with other values: what a step returns that rewrites every event."""
        other = Batch(
            values,
            offsets=self.offsets,
            timestamps=self.timestamps,
            spans=self.spans,
            raws=self.raws,
            keys=self.keys,
            headers=self.headers,
            statuses=self.statuses,
            stream=stream,
        )
        other._size = self._size
        return other

    def take(
        self, rows: Sequence[int], values: list[Any] | None = None, *, stream: str | None = None
    ) -> Batch:
        """Some of the rows, in order, optionally with new values for them.

        `rows` ascends. A row may be named more than once (an event that became several).
        """
        if values is None:
            values = [self.values[i] for i in rows] if self.values else []
        return Batch(
            values,
            offsets=[self.offsets[i] for i in rows],
            timestamps=[self.timestamps[i] for i in rows],
            spans=self._spans_of(rows),
            raws=_pick(self.raws, rows),
            keys=_pick(self.keys, rows),
            headers=_pick(self.headers, rows),
            statuses=_pick(self.statuses, rows),
            stream=stream,
        )

    def without(self, rows: Iterable[int]) -> Batch:
        """All rows but these."""
        gone = set(rows)
        return self.take([i for i in range(len(self)) if i not in gone])

    def _spans_of(self, rows: Sequence[int]) -> list[Span]:
        if len(self.spans) == 1:
            return [self.spans[0]._replace(rows=len(rows))]
        spans, at, end = [], 0, 0
        for span in self.spans:
            end += span.rows
            first = at
            while at < len(rows) and rows[at] < end:
                at += 1
            spans.append(span._replace(rows=at - first))
        return spans


def _pick(column: Sequence[Any] | None, rows: Sequence[int]) -> list[Any] | None:
    return None if column is None else [column[i] for i in rows]


def merge(batches: Sequence[Batch]) -> Batch:
    """One batch of several, rows in the given order. A single batch is returned as it is."""
    if len(batches) == 1:
        return batches[0]
    return Batch(
        _join([batch.values for batch in batches]),
        offsets=_join([batch.offsets for batch in batches]),
        timestamps=_join([batch.timestamps for batch in batches]),
        spans=_join([batch.spans for batch in batches]),
        raws=_join_optional(batches, "raws", None),
        keys=_join_optional(batches, "keys", None),
        headers=_join_optional(batches, "headers", None),
        statuses=_join_optional(batches, "statuses", VALID),
    )


def _join(columns: Sequence[Sequence[Any]]) -> list[Any]:
    return list(chain.from_iterable(columns))


def _join_optional(batches: Sequence[Batch], name: str, default: Any) -> list[Any] | None:
    columns = [getattr(batch, name) for batch in batches]
    if all(column is None for column in columns):
        return None
    return _join(
        [
            [default] * len(batch) if column is None else column
            for batch, column in zip(batches, columns, strict=True)
        ]
    )
