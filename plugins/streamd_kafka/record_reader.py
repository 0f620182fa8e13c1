"""Reads what one fetch has brought for a partition, many records at a time.

The client makes an object of eleven fields for every record and hands each through a generator
and two calls. Here the records of a batch come straight from its decoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException


class RecordReader(PartitionRecords):  # type: ignore[misc]
    """Takes the place of a fetch's `PartitionRecords`, with the same rules.

    `next_fetch_offset` is the position after what has been taken. `exhausted` says that nothing
    is left to take.
    """

    next_fetch_offset: int

    def __init__(self, records: Any) -> None:
        """Takes over `records`, a PartitionRecords that nobody has read from yet."""
        super().__init__(
            records._tp,
            records._records,
            records._aborted_transactions,
            records.next_fetch_offset,
            None,
            None,
            records._check_crcs,
            records._isolation_level,
        )
        # A generator that nobody starts holds its PartitionRecords, which holds it: a circle around
        # the bytes of the fetch, that only the garbage collector would ever free.
        for circle in (records._records_iterator, self._records_iterator):
            circle.close()
        self.exhausted = False
        self._batch: Any = None
        self._rows: Iterator[Any] = iter(())
        self._corrupt: CorruptRecordException | None = None

    def take(self, limit: int) -> list[Any]:
        """At most `limit` records; none only if nothing is left.

        Raises CorruptRecordException at a batch with a wrong checksum, after the records before.
        """
        taken: list[Any] = []
        while len(taken) < limit:
            if self._batch is None and not self._open_next(taken):
                break
            wanted = limit - len(taken)
            rows = list(islice(self._rows, wanted))
            over = len(rows) < wanted
            if rows and rows[0].offset < self.next_fetch_offset:
                # A batch comes whole, even if the position is in the middle of it.
                rows = [row for row in rows if row.offset >= self.next_fetch_offset]
            if rows:
                self.next_fetch_offset = rows[-1].offset + 1
                taken += rows
            if over:
                # Beyond the last record, which compaction may have removed.
                self.next_fetch_offset = self._batch.next_offset
                self._batch = None
        return taken

    def _open_next(self, taken: list[Any]) -> bool:
        """Go to the next batch of records; False if there is none, or none to be had now."""
        if self._corrupt is not None:
            raise self._corrupt
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                self._corrupt = CorruptRecordException(f"wrong checksum in {self._tp}")
                if not taken:
                    raise self._corrupt
                return False
            if self._is_aborted(batch) or batch.is_control_batch:
                self.next_fetch_offset = batch.next_offset
                continue
            self._batch = batch
            self._rows = chain(batch)  # iter() of a batch works only once, islice() would repeat it
            return True
        self.exhausted = True
        return False

    def _is_aborted(self, batch: Any) -> bool:
        """Whether the batch is of a transaction that was aborted; to be asked of every batch."""
        if self._isolation_level != READ_COMMITTED or batch.producer_id is None:
            return False
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch and self._contains_abort_marker(batch):
            self._aborted_producers.discard(batch.producer_id)
        return batch.is_transactional and batch.producer_id in self._aborted_producers
