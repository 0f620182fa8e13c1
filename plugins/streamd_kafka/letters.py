"""The Kafka sink's topic as a store of dead letters."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Self

import aiokafka.errors as kafka
import anyio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from streamd.api import Codec, Misconfigured, Retryable, StoredLetter, read_letter
from streamd_kafka.delivery import producer_options
from streamd_kafka.problems import classify
from streamd_kafka.removals import MARK, decode, encode, is_removal
from streamd_kafka.settings import SinkConfig, client_options

_POLL_MS = 500
# What is read is there already: a broker that has no more is not to wait for it. A fetch that it
# holds back also holds up the next reading, and the end.
_FETCH_WAIT_MS = 20
_STOP_WITHIN = 5.0

Offsets = dict[TopicPartition, int]


class Letters:
    """A place is a partition and an offset; a record never changes, so a version says nothing.

    To be entered. Leaving it after letters were removed deletes the records at the beginning of
    each partition of which none is a letter any more, as far as the broker allows that.
    """

    def __init__(self, config: SinkConfig, codec: Codec) -> None:
        self._config = config
        self._codec = codec
        self._exit = AsyncExitStack()
        self._consumer: AIOKafkaConsumer
        self._producer: AIOKafkaProducer | None = None
        self._starts: Offsets = {}
        self._ends: Offsets = {}
        self._living: dict[TopicPartition, set[int]] = {}
        self._touched = False

    async def __aenter__(self) -> Self:
        """Raises StreamdError; looks through the whole topic."""
        with _translated(f"cannot read {self._config.topic}"):
            await self._open()
        return self

    async def _open(self) -> None:
        async with AsyncExitStack() as stack:
            self._consumer = AIOKafkaConsumer(
                **client_options(self._config),
                isolation_level="read_committed",
                fetch_max_wait_ms=_FETCH_WAIT_MS,
            )
            stack.push_async_callback(_stop, self._consumer)
            await self._consumer.start()
            await self._assign()
            await self._scan(self._starts, self._ends)
            self._exit = stack.pop_all()

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            if self._touched and exc_info[0] is None:
                await self._truncate()
        finally:
            await self._exit.aclose()

    async def read(self, after: str = "") -> AsyncIterator[StoredLetter]:
        """See `DeadLetterStore`."""
        for partition in sorted(self._living):
            if not self._living[partition]:
                continue
            only = {partition: min(self._living[partition])}
            async for record in self._records(only, {partition: self._ends[partition]}):
                place = f"{record.partition:06}:{record.offset:020}"
                if place > after and record.offset in self._living[partition]:
                    yield await self._letter(place, record.value)

    async def remove(self, letters: Sequence[StoredLetter]) -> int:
        """See `DeadLetterStore`."""
        self._touched = True
        offsets: dict[int, list[int]] = {}
        for letter in letters:
            partition, _, offset = letter.place.partition(":")
            offsets.setdefault(int(partition), []).append(int(offset))
        with _translated(f"cannot write to {self._config.topic}"):
            producer = await self._producing()
            for number, some in offsets.items():
                await producer.send_and_wait(
                    self._config.topic,
                    encode(some),
                    # A key of its own: a topic that is compacted keeps each of them.
                    key=f"{MARK}-{uuid.uuid4()}".encode(),
                    partition=number,
                    headers=[(MARK, b"")],
                )
                self._living[TopicPartition(self._config.topic, number)].difference_update(some)
        return len(letters)

    async def _assign(self) -> None:
        numbers = self._consumer.partitions_for_topic(self._config.topic)
        if not numbers:
            numbers = (await self._consumer._client.fetch_all_metadata()).partitions_for_topic(
                self._config.topic
            )
        if not numbers:
            raise Misconfigured(f"there is no topic {self._config.topic}")
        partitions = [TopicPartition(self._config.topic, number) for number in sorted(numbers)]
        self._consumer.assign(partitions)
        self._starts = await self._consumer.beginning_offsets(partitions)
        self._ends = await self._consumer.end_offsets(partitions)

    async def _scan(self, starts: Offsets, ends: Offsets) -> None:
        """Find out which records are letters that were not removed."""
        removed: dict[TopicPartition, set[int]] = {partition: set() for partition in starts}
        for partition in starts:
            self._living.setdefault(partition, set())
        async for record in self._records(starts, ends):
            partition = TopicPartition(record.topic, record.partition)
            if is_removal(record.headers):
                removed[partition].update(decode(record.value))
            elif record.value is not None:
                self._living[partition].add(record.offset)
        for partition, offsets in removed.items():
            self._living[partition] -= offsets

    async def _records(self, starts: Offsets, ends: Offsets) -> AsyncIterator[Any]:
        """The records between these offsets, of one partition in their order."""
        left = {partition for partition, start in starts.items() if start < ends[partition]}
        self._consumer.pause(*self._consumer.assignment())
        for partition in left:
            self._consumer.seek(partition, starts[partition])
            self._consumer.resume(partition)
        patience = time.monotonic() + self._config.request_timeout
        while left:
            found = await self._consumer.getmany(*left, timeout_ms=_POLL_MS)
            for partition, records in found.items():
                patience = time.monotonic() + self._config.request_timeout
                for record in records:
                    if record.offset < ends[partition]:
                        yield record
            for partition in list(left):
                if await self._consumer.position(partition) >= ends[partition]:
                    left.discard(partition)
                    self._consumer.pause(partition)
            if time.monotonic() > patience:
                raise Retryable(f"no answer from the brokers of {self._config.topic}")

    async def _letter(self, place: str, value: bytes) -> StoredLetter:
        try:
            return StoredLetter(place, "", await read_letter(self._codec, value))
        except ValueError as error:
            return StoredLetter(place, "", {}, str(error))

    async def _producing(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(**producer_options(self._config))
            self._exit.push_async_callback(_stop, producer)
            await producer.start()
            self._producer = producer
        return self._producer

    async def _truncate(self) -> None:
        """Only what is known to hold no letter; what came since is looked at once more."""
        ends = await self._consumer.end_offsets(list(self._ends))
        await self._scan(self._ends, ends)
        wanted: Mapping[TopicPartition, int] = {
            partition: min(self._living[partition], default=ends[partition])
            for partition in self._starts
        }
        delete = {
            partition: RecordsToDelete(before_offset=offset)
            for partition, offset in wanted.items()
            if offset > self._starts[partition]
        }
        if not delete:
            return
        admin = AIOKafkaAdminClient(**client_options(self._config))
        try:
            await admin.start()
            await admin.delete_records(delete)
        except kafka.KafkaError:
            return  # not allowed, or a compacted topic: the records that name them do
        finally:
            with anyio.move_on_after(_STOP_WITHIN, shield=True):
                await admin.close()


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except (kafka.KafkaError, OSError, TimeoutError) as error:
        raise classify(error, doing) from error


async def _stop(client: Any) -> None:
    with anyio.move_on_after(_STOP_WITHIN, shield=True):
        await client.stop()
