"""Positions that only the broker knows."""

from __future__ import annotations

from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError
from aiokafka.structs import OffsetAndMetadata

from streamd.api import Committed, Counter, Logger, Metrics, Misconfigured, partition_name
from streamd_kafka.settings import Start


async def committed_offsets(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, Committed | None]:
    """What the group has committed, with its tag; `consumer.committed` knows only the offset."""
    found = await consumer._coordinator.fetch_committed_offsets(list(partitions))
    return {
        partition: Committed(found[partition].offset, found[partition].metadata or "")
        if partition in found
        else None
        for partition in partitions
    }


async def commit_offsets(
    consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, tuple[int, str]]
) -> None:
    """Commit offsets with their tags, also while partitions are being revoked.

    Raises KafkaError, or CommitFailedError if we are no member any more.
    """
    try:
        await consumer.commit(offsets)
    except IllegalStateError:
        # A pattern that matches a new topic makes the client drop its assignment at once, and
        # refuse what the group would still take from us.
        entries = {partition: OffsetAndMetadata(*entry) for partition, entry in offsets.items()}
        await consumer._coordinator.commit_offsets(None, entries)


async def start_offsets(
    consumer: AIOKafkaConsumer, start: Start, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """Where to begin in partitions for which nobody knows a position."""
    wanted = list(partitions)
    if not wanted:
        return {}
    if start == "earliest":
        return dict(await consumer.beginning_offsets(wanted))
    ends = await consumer.end_offsets(wanted)
    if start == "latest":
        return dict(ends)
    found = await consumer.offsets_for_times(dict.fromkeys(wanted, start))
    return {
        partition: ends[partition] if found[partition] is None else found[partition].offset
        for partition in wanted
    }


class LostRecords:
    """What to do where the log does not have the next record to read."""

    def __init__(self, mode: str, metrics: Metrics, log: Logger) -> None:
        self._strict = mode == "error"
        self._log = log
        self._lost: Counter = metrics.counter(
            "kafka_lost_records", "Records that the log no longer had when they were to be read."
        )
        self._resets: Counter = metrics.counter(
            "kafka_offset_resets", "Positions moved because the log does not reach them."
        )

    async def recover(
        self, consumer: AIOKafkaConsumer, out_of_range: dict[TopicPartition, int]
    ) -> None:
        """Go on with the oldest records there are.

        Raises Misconfigured instead, every time, where lost offsets are an error.
        """
        beginnings = await consumer.beginning_offsets(list(out_of_range))
        for partition, position in out_of_range.items():
            oldest = beginnings[partition]
            # Above the log's end nothing is lost, but all of what is there is unknown: the topic
            # was made anew, or a broker has lost the end of its log.
            lost = max(0, oldest - position)
            facts = {
                "partition": partition_name(*partition),
                "position": position,
                "oldest": oldest,
                "lost": lost,
            }
            if self._strict:
                raise Misconfigured(
                    f"the log does not have offset {position} of {facts['partition']}, its oldest "
                    f"is {oldest}, so {lost} records are lost; move the group's offset, or set "
                    'on_lost_offsets = "report" to go on'
                )
            if (
                partition in consumer.assignment()
                and await consumer.position(partition) == position
            ):
                self._log.error("Records lost: the log no longer has them", **facts)
                self._lost.inc(lost)
                self._resets.inc()
                consumer.seek(partition, oldest)
