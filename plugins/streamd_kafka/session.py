"""One membership in the consumer group, from joining to leaving."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

import anyio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    CorruptRecordException,
    KafkaError,
    OffsetOutOfRangeError,
)

from streamd.api import (
    NOTHING_READ,
    Batch,
    Control,
    Misconfigured,
    Retryable,
    StageContext,
    split_partition,
)
from streamd_kafka.columns import Columns
from streamd_kafka.fast_fetching import FastFetcher, has_extensions, unsupported
from streamd_kafka.fetching import Fetcher, PublicFetcher
from streamd_kafka.lag import Lag, Silence
from streamd_kafka.membership import Membership
from streamd_kafka.offsets import (
    LostRecords,
    commit_offsets,
    committed_offsets,
    start_offsets,
)
from streamd_kafka.problems import classify, describe, explain
from streamd_kafka.settings import SourceConfig, client_options, milliseconds, parse_start

_STOP_WITHIN = 10.0
_ANSWER_WITHIN = 10.0
"""Seconds for a question that the client would otherwise ask for ever."""


class Session:
    """A source that is of no use any more once it is `broken`."""

    resumes = True

    def __init__(self, config: SourceConfig, context: StageContext, control: Control) -> None:
        self.broken = False
        self._config = config
        self._context = context
        self._control = control
        self._start = parse_start(config.start)
        self._lost = LostRecords(config.on_lost_offsets, context.metrics, context.log)
        self._silence = Silence()
        self._newest: dict[TopicPartition, int] = {}
        self._starts: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Self:
        consumer = AIOKafkaConsumer(**consumer_options(self._config))
        self._consumer = consumer
        try:
            await consumer.start()
            await self._check_topics()
        except (KafkaError, OSError, TimeoutError) as error:
            await self.__aexit__()
            raise await explain(self._config, error, "cannot reach Kafka") from error
        except BaseException:
            await self.__aexit__()
            raise
        self._fetcher = self._choose_fetcher()
        self._membership = Membership(consumer, self._control, self._context.log)
        self._lag = Lag(
            consumer,
            self._context.metrics,
            self._context.clock,
            committed=self._config.isolation_level == "read_committed",
        )
        consumer.subscribe(
            topics=list(self._config.topics),
            pattern=self._config.topic_pattern or None,
            listener=self._membership,
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with anyio.move_on_after(_STOP_WITHIN, shield=True):
            try:
                await self._consumer.stop()
                return
            except Exception as error:
                self._context.log.warning("Cannot leave the group", error=describe(error))
        with anyio.move_on_after(1, shield=True), suppress(Exception):
            await _abandon(self._consumer)

    async def poll(self, max_events: int, timeout: float) -> list[Batch]:
        self._membership.raise_failure()
        if self._membership.pending:
            await self._hand_over()
        fetched = await self._fetch(max_events, timeout)
        owned = self._membership.owned
        batches = [columns.batch() for columns in fetched if columns.partition in owned]
        for columns in fetched:
            self._newest[columns.partition] = columns.timestamps[-1]
        await self._watch(idle=not fetched)
        return batches

    async def _fetch(self, max_events: int, timeout: float) -> list[Columns]:
        try:
            return await self._fetcher.fetch(max_events, timeout)
        except OffsetOutOfRangeError as error:
            await self._recover(error)
            return []
        except CorruptRecordException as error:
            raise classify(error, "cannot read") from error
        except KafkaError as error:
            self.broken = True
            raise classify(error, "cannot read") from error

    async def commit(self, positions: Mapping[str, int], tag: str) -> None:
        owned = self._membership.owned
        offsets = {
            partition: (position, tag)
            for name, position in positions.items()
            if (partition := TopicPartition(*split_partition(name))) in owned
        }
        if not offsets:
            return
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                await commit_offsets(self._consumer, offsets)
        except CommitFailedError as error:
            await self._membership.refused(error)
        except (KafkaError, TimeoutError) as error:
            raise classify(error, "cannot commit") from error

    async def keepalive(self) -> None:
        try:
            await self._fetcher.touch()
        except KafkaError as error:
            raise classify(error, "cannot keep the membership alive") from error
        owned = self._readable()
        await self._lag.ask(owned)
        await self._lag.measure(owned & self._readable(), self._newest)

    async def give_up(self) -> None:
        """Everything is lost, before the session is left although the engine goes on."""
        await self._membership.give_up()

    async def _hand_over(self) -> None:
        membership, consumer = self._membership, self._consumer
        generation, pending = membership.generation, set(membership.pending)
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                committed = await committed_offsets(consumer, pending)
                # Asked once: what comes while the first commit fails is not to be skipped.
                new = {p for p, known in committed.items() if known is None} - self._starts.keys()
                self._starts |= await start_offsets(consumer, self._start, new)
        except (KafkaError, TimeoutError) as error:
            raise classify(error, "cannot learn the group's offsets") from error
        await membership.resume(generation, committed, self._starts, self._begin)

    async def _begin(self, starts: dict[TopicPartition, int]) -> None:
        """Commit where reading begins, where another time it would begin elsewhere: a restart
        before the first event is not to skip what has come meanwhile."""
        if self._start != "earliest":
            try:
                async with asyncio.timeout(_ANSWER_WITHIN):
                    begins = {partition: (at, NOTHING_READ) for partition, at in starts.items()}
                    await commit_offsets(self._consumer, begins)
            except (KafkaError, TimeoutError) as error:
                raise classify(error, "cannot commit where reading begins") from error
        for partition in starts:
            del self._starts[partition]

    async def _recover(self, error: OffsetOutOfRangeError) -> None:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                await self._lost.recover(self._consumer, error.args[0])
        except (KafkaError, TimeoutError) as cause:
            raise classify(cause, "cannot learn the log's oldest offset") from cause

    async def _watch(self, *, idle: bool) -> None:
        """Returns without waiting, or a rebalance could take away what poll is about to return."""
        owned = self._readable()
        await self._lag.measure(owned, self._newest)
        if idle and (seconds := self._silence.lasts(self._consumer, owned)):
            raise Retryable(f"no broker has answered for {seconds:.0f} s")

    def _readable(self) -> set[TopicPartition]:
        # A pattern that matches new topics drops the assignment before the group revokes it.
        assigned: set[TopicPartition] = self._consumer.assignment()
        return (self._membership.owned & assigned) - self._membership.pending

    async def _check_topics(self) -> None:
        missing = set(self._config.topics) - await self._consumer.topics()
        if not missing:
            return
        text = f"topics do not exist, or may not be described: {', '.join(sorted(missing))}"
        if self._config.on_missing_topic == "error":
            raise Misconfigured(f'{text}; make them, or set on_missing_topic = "wait"')
        self._context.log.warning("Waiting for topics", missing=sorted(missing))

    def _choose_fetcher(self) -> Fetcher:
        log = self._context.log
        extensions = has_extensions()
        if not extensions:
            log.warning("aiokafka lacks its compiled decoder: reading is many times slower")
        if not self._config.fast_records:
            return PublicFetcher(self._consumer, self._config)
        reason = unsupported(self._consumer)
        if reason:
            log.warning("Cannot read straight into columns, so at half the speed", reason=reason)
            return PublicFetcher(self._consumer, self._config)
        return FastFetcher(self._consumer)


async def _abandon(consumer: AIOKafkaConsumer) -> None:
    """End what a client that does not stop by itself would still do."""
    coordinator = consumer._coordinator
    await consumer._fetcher.close()
    for task in (
        coordinator._coordination_task,
        coordinator._heartbeat_task,
        coordinator._commit_refresh_task,
    ):
        if task is not None:
            task.cancel()
    await consumer._client.close()


def consumer_options(config: SourceConfig) -> dict[str, Any]:
    """Arguments of the consumer. Raises Misconfigured if a certificate cannot be read."""
    options = client_options(config)
    # A broker answers a join only when every member has come, so this has to be the longest wait.
    joining = milliseconds(config.rebalance_timeout) + 10_000
    options["request_timeout_ms"] = max(options["request_timeout_ms"], joining)
    return options | {
        "group_id": config.group_id,
        "group_instance_id": config.group_instance_id or None,
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": config.isolation_level,
        "session_timeout_ms": milliseconds(config.session_timeout),
        "heartbeat_interval_ms": milliseconds(min(3.0, config.session_timeout / 3)),
        "rebalance_timeout_ms": milliseconds(config.rebalance_timeout),
        "max_poll_interval_ms": milliseconds(config.max_poll_interval),
        "fetch_min_bytes": int(config.fetch_min_bytes),
        "fetch_max_wait_ms": milliseconds(config.fetch_max_wait),
        "fetch_max_bytes": int(config.fetch_max_bytes),
        "max_partition_fetch_bytes": int(config.max_partition_fetch_bytes),
        "check_crcs": config.check_crcs,
    }
