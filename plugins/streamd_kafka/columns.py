"""Records as the columns of a batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from streamd.api import Batch, Header, partition_name


class Columns(NamedTuple):
    """Records of one partition, in order; `stop` is the position after them."""

    partition: TopicPartition
    raws: list[bytes | None]
    keys: list[bytes | None] | None
    headers: list[Sequence[Header]] | None
    timestamps: list[int]
    offsets: Sequence[int]
    stop: int

    def batch(self) -> Batch:
        return Batch.of_raws(
            self.raws,
            partition=partition_name(*self.partition),
            offsets=self.offsets,
            timestamps=self.timestamps,
            stop=self.stop,
            keys=self.keys,
            headers=self.headers,
        )


def columns_of(partition: TopicPartition, records: Sequence[Any], stop: int) -> Columns:
    """Columns of at least one record: anything with offset, timestamp, key, value, headers."""
    first, last = records[0].offset, records[-1].offset
    keys = [record.key for record in records]
    headers = [record.headers for record in records]
    timestamps = [record.timestamp for record in records]
    if None in timestamps:  # the message format before Kafka 0.10 has none
        now = time.time_ns() // 1_000_000
        timestamps = [now if stamp is None else stamp for stamp in timestamps]
    return Columns(
        partition,
        [record.value for record in records],
        None if keys.count(None) == len(keys) else keys,
        headers if any(headers) else None,
        timestamps,
        # Only compaction and transactions leave gaps.
        range(first, last + 1)
        if last - first + 1 == len(records)
        else [record.offset for record in records],
        stop,
    )
