"""Write the events of a job to topics of one partition each."""

from __future__ import annotations

from asyncio import Future
from typing import Any

from aiokafka import AIOKafkaProducer

from benchmarks.peers.jobs import Job, records

_BATCH_BYTES = 200_000


async def feed(job: Job, brokers: str, topics: list[str]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=brokers, max_batch_size=_BATCH_BYTES)
    async with producer:
        batches = [producer.create_batch() for _ in topics]
        pending: list[Future[Any]] = []

        async def send(side: int) -> None:
            batches[side].close()
            pending.append(await producer.send_batch(batches[side], topics[side], partition=0))
            batches[side] = producer.create_batch()

        for side, timestamp, key, value in records(job):
            if batches[side].append(key=key, value=value, timestamp=timestamp) is None:
                await send(side)
                batches[side].append(key=key, value=value, timestamp=timestamp)
        for side in range(len(topics)):
            await send(side)
        for future in pending:
            await future
