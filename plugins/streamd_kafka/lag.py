"""How far behind the source is, and whether a broker still answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streamd.api import Clock, Gauge, Metrics, partition_name

_EVERY = 1.0
_ASK_EVERY = 5.0
_ANSWER_WITHIN = 1.0
_SILENCE = 30.0
_PAUSE = 5.0


class Lag:
    """Gauges per partition, set at most once a second."""

    def __init__(
        self, consumer: AIOKafkaConsumer, metrics: Metrics, clock: Clock, *, committed: bool
    ) -> None:
        self._consumer = consumer
        self._metrics = metrics
        self._clock = clock
        self._committed = committed
        self._gauges: dict[TopicPartition, tuple[Gauge, Gauge]] = {}
        self._due = self._ask_at = 0.0
        self._answer: dict[TopicPartition, int] = {}

    async def ask(self, owned: Collection[TopicPartition]) -> None:
        """Ask the brokers for the ends of partitions that nothing is fetched of for now, at most
        every few seconds. Without an answer the ends stay those that are known."""
        now = time.monotonic()
        if not owned or now < self._ask_at:
            return
        self._ask_at = now + _ASK_EVERY
        self._due = 0.0
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                self._answer = await self._consumer.end_offsets(owned)
        except (KafkaError, TimeoutError):
            return

    async def measure(
        self, owned: Collection[TopicPartition], newest: Mapping[TopicPartition, int]
    ) -> None:
        """`newest` is the timestamp (ms) of the last record read of each partition.

        Returns without waiting for anything.
        """
        now = time.monotonic()
        if now < self._due:
            return
        for partition in self._gauges.keys() - set(owned):  # another member shows them now
            for gauge in self._gauges.pop(partition):
                gauge.set(0)
        for partition in owned:
            end = self._end(partition)
            if end is None:
                continue
            self._due = now + _EVERY
            records, seconds = self._gauges_of(partition)
            behind = max(0, end - await self._consumer.position(partition))
            records.set(behind)
            if not behind:
                seconds.set(0)
            elif partition in newest:
                seconds.set(max(0, self._clock.now_ms() - newest[partition]) / 1000)

    def _end(self, partition: TopicPartition) -> int | None:
        """Up to where there is something to read, as far as is known yet."""
        stable = self._consumer.last_stable_offset(partition) if self._committed else None
        if stable is None or stable < 0:
            stable = self._consumer.highwater(partition)
        # An old answer may be of a log that has been cut since.
        recent = time.monotonic() - self._ask_at < _ASK_EVERY
        asked = self._answer.get(partition) if recent else None
        return max((end for end in (stable, asked) if end is not None), default=None)

    def _gauges_of(self, partition: TopicPartition) -> tuple[Gauge, Gauge]:
        if partition not in self._gauges:
            label = partition_name(*partition)
            self._gauges[partition] = (
                self._metrics.gauge("kafka_lag_records", "Records not read yet.", partition=label),
                self._metrics.gauge(
                    "kafka_lag_seconds",
                    "Age of the last record read, where there are more to read.",
                    partition=label,
                ),
            )
        return self._gauges[partition]


class Silence:
    """Notices that no broker answers although we keep asking; the client only logs it."""

    def __init__(self) -> None:
        self._heard: int | None = None
        self._since = self._asked = time.monotonic()

    def lasts(self, consumer: AIOKafkaConsumer, owned: Collection[TopicPartition]) -> float:
        """Seconds of polling in vain without any answer; 0 below half a minute."""
        now = time.monotonic()
        heard = max((consumer.last_poll_timestamp(part) or 0 for part in owned), default=None)
        # A pause between two polls is no silence, as the client asks for nothing meanwhile; but
        # the silence that led to a pause goes on.
        paused = now - self._asked > _PAUSE and self._asked - self._since < _SILENCE
        if heard is None or heard != self._heard or paused:
            self._heard, self._since = heard, now
        self._asked = now
        return now - self._since if now - self._since >= _SILENCE else 0.0
