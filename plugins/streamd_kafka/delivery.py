"""Sends records and finds out what became of each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import aiokafka.errors as kafka
import anyio
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from streamd.api import Misconfigured, Reject, Retryable
from streamd_kafka.problems import classify, describe, explain
from streamd_kafka.records import Records
from streamd_kafka.settings import SinkConfig, client_options

_STOP_WITHIN = 10.0
_ABANDON_WITHIN = 1.0
_TOPIC_WITHIN = 10.0


class InvalidRecordError(kafka.BrokerResponseError):  # type: ignore[misc]
    """Missing in the client: a topic that is compacted gets a record without a key, say."""

    errno = 87
    message = "INVALID_RECORD"
    description = "The broker refuses the record."


kafka.kafka_errors.setdefault(InvalidRecordError.errno, InvalidRecordError)

# The broker refuses a whole record batch for what a record of it is like.
_CONTENT = (
    kafka.MessageSizeTooLargeError,
    kafka.RecordListTooLargeError,
    kafka.InvalidTimestampError,
    kafka.kafka_errors[InvalidRecordError.errno],
)

Run = tuple[int, Sequence[int]]
"""A partition, and numbers of records that go there in this order."""

Failed = tuple[int, Sequence[int], BaseException]


class Delivery:
    """A producer that is replaced whenever what it does next could not be trusted.

    An idempotent one numbers its batches, and after a batch that was refused or given up the
    broker refuses all later ones of the partition.
    """

    def __init__(self, config: SinkConfig) -> None:
        self._config = config
        self._topic = config.topic
        self._producer: AIOKafkaProducer | None = None
        self._turn = 0

    async def open(self) -> AIOKafkaProducer:
        """Raises Retryable or Misconfigured."""
        if self._producer is not None:
            return self._producer
        producer = AIOKafkaProducer(**producer_options(self._config))
        try:
            async with asyncio.timeout(self._config.request_timeout):
                await producer.start()
            await self._partitions(producer)
        except (kafka.KafkaError, OSError, TimeoutError) as error:
            await _abandon(producer)
            raise await explain(self._config, error, "cannot reach Kafka") from error
        except BaseException:
            await _abandon(producer)
            raise
        self._producer = producer
        return producer

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with anyio.move_on_after(_STOP_WITHIN, shield=True):
                await producer.stop()
                return
            await _abandon(producer)

    async def deliver(self, records: Records) -> dict[int, Reject]:
        """Send all; the numbers of the records that the broker refuses for good, and why.

        Raises Retryable or Misconfigured; some of the records may be stored then.
        """
        producer = await self.open()
        rejects = self._too_large(records)
        good = [number for number in range(len(records.values)) if number not in rejects]
        runs = self._route(records, good, await self._partitions(producer))
        while runs:
            failed = await self._send(records, runs)
            runs = []
            if failed:
                await self._replace()
            refused = any(isinstance(error, _CONTENT) for _, _, error in failed)
            for partition, numbers, error in failed:
                if isinstance(error, _CONTENT):
                    if len(numbers) == 1:
                        rejects[numbers[0]] = _reject(error)
                    else:
                        half = len(numbers) // 2
                        runs += [(partition, numbers[:half]), (partition, numbers[half:])]
                elif refused and isinstance(error, kafka.OutOfOrderSequenceNumber):
                    runs.append((partition, numbers))
                else:
                    raise classify(error, f"cannot write to {self._topic}") from error
        return rejects

    async def _partitions(self, producer: AIOKafkaProducer) -> int:
        """How many there are. Waits a while for a topic that the broker is just making."""
        try:
            async with asyncio.timeout(_TOPIC_WITHIN):
                return len(await producer.partitions_for(self._topic))
        except TimeoutError:
            raise Misconfigured(
                f"topic {self._topic} does not exist, or may not be described"
            ) from None

    def _too_large(self, records: Records) -> dict[int, Reject]:
        limit = self._config.max_request_size
        rejects: dict[int, Reject] = {}
        for number, value in enumerate(records.values):
            if 2 * len(value) < limit:  # not even worth a closer look; the broker has the last word
                continue
            size = _size(records, number)
            if size > limit:
                text = f"the record has {size} bytes, max_request_size is {limit:d}"
                rejects[number] = Reject("too_large", text, error_type="MessageSizeTooLargeError")
        return rejects

    def _route(self, records: Records, numbers: list[int], partitions: int) -> list[Run]:
        """By key as Kafka's own clients do; records without one all to the next partition."""
        self._turn += 1
        by_partition: dict[int, list[int]] = {}
        for number in numbers:
            key = records.keys[number]
            partition = (self._turn if key is None else _hash(key)) % partitions
            by_partition.setdefault(partition, []).append(number)
        return list(by_partition.items())

    async def _send(self, records: Records, runs: list[Run]) -> list[Failed]:
        producer = await self.open()
        by_partition: dict[int, list[Sequence[int]]] = {}
        for partition, numbers in runs:
            by_partition.setdefault(partition, []).append(numbers)
        try:
            async with asyncio.timeout(self._config.delivery_timeout):
                failed = await asyncio.gather(
                    *(
                        self._send_to(producer, records, partition, parts)
                        for partition, parts in by_partition.items()
                    )
                )
        except TimeoutError:
            # What the client has taken it would try to send for ever, and so twice.
            await self._replace()
            raise Retryable(
                f"cannot write to {self._topic}: not acknowledged within "
                f"{self._config.delivery_timeout:g} s"
            ) from None
        return [each for group in failed for each in group]

    async def _send_to(
        self,
        producer: AIOKafkaProducer,
        records: Records,
        partition: int,
        parts: list[Sequence[int]],
    ) -> list[Failed]:
        sent: list[Sequence[int]] = []
        outcomes: list[Any] = []
        failed: list[Failed] = []
        for part in parts:
            for numbers, builder in self._build(producer, records, part):
                try:
                    outcomes.append(
                        await producer.send_batch(builder, self._topic, partition=partition)
                    )
                    sent.append(numbers)
                except kafka.KafkaError as error:
                    failed.append((partition, numbers, error))
        results = await asyncio.gather(*outcomes, return_exceptions=True)
        for numbers, result in zip(sent, results, strict=True):
            if isinstance(result, BaseException):
                failed.append((partition, numbers, result))
        return failed

    def _build(
        self, producer: AIOKafkaProducer, records: Records, numbers: Sequence[int]
    ) -> Iterator[tuple[Sequence[int], Any]]:
        """Record batches of these records, each as large as the settings allow."""
        values, keys, headers, timestamps = records
        builder = producer.create_batch()
        first = 0
        for at, number in enumerate(numbers):
            record = {
                "timestamp": timestamps[number],
                "key": keys[number],
                "value": values[number],
                "headers": list(headers[number] or ()) if headers is not None else [],
            }
            if builder.append(**record) is None:
                builder.close()
                yield numbers[first:at], builder
                builder, first = producer.create_batch(), at
                builder.append(**record)  # the first one is always taken
        builder.close()
        yield numbers[first:], builder

    async def _replace(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _abandon(producer)


def producer_options(config: SinkConfig) -> dict[str, Any]:
    """Arguments of the producer. Raises Misconfigured if a certificate cannot be read."""
    return client_options(config) | {
        "acks": config.acks,
        "enable_idempotence": config.enable_idempotence,
        "compression_type": None if config.compression == "none" else config.compression,
        "max_batch_size": min(config.batch_size, config.max_request_size),
        "max_request_size": int(config.max_request_size),
    }


def _size(records: Records, number: int) -> int:
    """Bytes of a record, at most."""
    headers = list(records.headers[number] or ()) if records.headers is not None else []
    size: int = DefaultRecordBatchBuilder.estimate_size_in_bytes(
        records.keys[number], records.values[number], headers
    )
    return size


@lru_cache(maxsize=1 << 16)
def _hash(key: bytes) -> int:
    hashed: int = murmur2(key) & 0x7FFFFFFF
    return hashed


def _reject(error: BaseException) -> Reject:
    too_large = isinstance(error, kafka.MessageSizeTooLargeError | kafka.RecordListTooLargeError)
    return Reject(
        "too_large" if too_large else "refused",
        f"refused by the broker: {describe(error)}",
        error_type=type(error).__name__,
    )


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Close without delivering what the client still holds.

    Left to itself the client would go on trying, after the close too. So: nothing more is sent,
    what is under way fails with its connection, and the rest is called done.
    """
    with contextlib.suppress(Exception), anyio.move_on_after(_ABANDON_WITHIN, shield=True):
        if (sending := producer._sender.sender_task) is not None:
            sending.cancel()
            await producer.client.close()
            await asyncio.wait([sending])
        accumulator = producer._message_accumulator
        # A batch that waits to be sent again is queued, and still takes itself for pending.
        accumulator._pending_batches.update(chain(*accumulator._batches.values()))
        for batch in list(accumulator._pending_batches):
            batch.done_noack()
    with anyio.move_on_after(_ABANDON_WITHIN, shield=True):
        await producer.stop()
