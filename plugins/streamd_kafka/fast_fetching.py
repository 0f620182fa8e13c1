"""Takes what the client has fetched past `getmany`, straight into columns.

Everything that is not public about aiokafka's consumer is used in this module, in
`record_reader`, and in one line each of `fetching` and `membership`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streamd_kafka.columns import Columns, columns_of
from streamd_kafka.record_reader import RecordReader


class FastFetcher:
    """Like `getmany`, with three differences.

    Records become columns without an object for each. A call that is cancelled or fails does not
    spoil the client's watch over max_poll_interval. A rebalance makes no call wait longer than it
    was told to.
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._coordinator = consumer._coordinator
        self._fetcher = consumer._fetcher
        self._subscription = consumer._subscription

    async def fetch(self, limit: int, timeout: float) -> list[Columns]:
        await asyncio.sleep(0)  # heartbeats and fetches get their turn under full load too
        self._coordinator.check_errors()
        end = time.monotonic() + timeout
        with self._polling():
            while True:
                if self._subscription.reassignment_in_progress:
                    change = self._subscription.wait_for_assignment()
                else:
                    if columns := self._take(limit):
                        return columns
                    change = self._fetcher._create_fetch_waiter()
                if not await _within(change, end - time.monotonic()):
                    return []

    async def touch(self) -> None:
        with self._polling():
            pass

    def _take(self, limit: int) -> list[Columns]:
        taken: list[Columns] = []
        for partition in list(self._fetcher._records):
            held = self._fetcher._records[partition]
            if type(held) is not FetchResult:
                if not taken:
                    self._done_with(partition)
                    held.check_raise()
                break  # the error is for the next call
            columns = self._read(partition, held, limit)
            if columns is not None:
                taken.append(columns)
                limit -= len(columns.raws)
                if limit <= 0:
                    break
        return taken

    def _read(self, partition: TopicPartition, held: Any, limit: int) -> Columns | None:
        if not (held.has_more() and held.check_assignment(partition)):
            self._done_with(partition)
            return None
        if type(held._partition_records) is not RecordReader:
            held._partition_records = RecordReader(held._partition_records)
        reader: RecordReader = held._partition_records
        try:
            records = reader.take(limit)
        except BaseException:
            self._done_with(partition)  # fetched again: the position has not moved
            raise
        held._update_position()
        if reader.exhausted:
            self._done_with(partition)
        if not records:
            return None
        return columns_of(partition, records, reader.next_fetch_offset)

    def _done_with(self, partition: TopicPartition) -> None:
        """Let the client fetch the next of this partition."""
        del self._fetcher._records[partition]
        self._fetcher._notify(self._fetcher._wait_consume_future)

    @contextmanager
    def _polling(self) -> Iterator[None]:
        self._subscription._fetch_count += 1
        try:
            yield
        finally:
            self._subscription._fetch_count -= 1
            self._subscription._last_fetch_ended = time.monotonic()


async def _within(change: asyncio.Future[None], timeout: float) -> bool:
    """Whether `change` came in time; raises what it brought."""
    try:
        if timeout > 0:
            await asyncio.wait([change], timeout=timeout)
        if change.done():
            change.result()
            return True
        return False
    finally:
        change.cancel()


def has_extensions() -> bool:
    """Whether the client's compiled record decoder is in use; it is many times faster."""
    return "_crecords" in DefaultRecordBatch.__module__


def unsupported(consumer: AIOKafkaConsumer) -> str:
    """Why the fast way is not possible with this version of the client; empty if it is."""
    try:
        FastFetcher(consumer)
        needed = [
            (consumer._coordinator, ["check_errors"]),
            (consumer._fetcher, ["_records", "_notify", "_wait_consume_future"]),
            (consumer._fetcher, ["_create_fetch_waiter"]),
            (consumer._subscription, ["_fetch_count", "_last_fetch_ended"]),
            (consumer._subscription, ["reassignment_in_progress", "wait_for_assignment"]),
            (FetchResult, ["has_more", "check_assignment", "_update_position"]),
        ]
        for owner, names in needed:
            for name in names:
                getattr(owner, name)
        return "" if _reads_like_the_client() else "it reads other records than the client"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _reads_like_the_client() -> bool:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 16)
    for offset in range(3):
        builder.append(offset, 1000 + offset, b"key", b"value %d" % offset, [("name", b"x")])
    raw = bytes(builder.build())
    partition = TopicPartition("self-test", 0)

    def fresh() -> PartitionRecords:
        return PartitionRecords(
            partition, MemoryRecords(raw), [], 1, None, None, True, READ_COMMITTED
        )

    reader = RecordReader(fresh())
    fast = columns_of(partition, reader.take(10), reader.next_fetch_offset)
    records = fresh()
    public = columns_of(partition, list(records), records.next_fetch_offset)
    return fast._replace(headers=[tuple(row) for row in fast.headers or ()]) == public
