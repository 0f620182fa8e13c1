"""Write events to a topic: `python -m benchmarks.feed BROKERS TOPIC RATE SECONDS [EVENTS]`.

A rate of 0 writes EVENTS as fast as it goes.
"""

from __future__ import annotations

import sys
import time

import anyio
from aiokafka import AIOKafkaProducer

from benchmarks.events import event

_PARTITIONS, _CHUNK = 4, 500


async def feed(brokers: str, topic: str, rate: float, seconds: float, events: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=brokers, linger_ms=5, max_batch_size=200_000)
    total = events or int(rate * seconds)
    async with producer:
        started, sent = time.perf_counter(), 0
        pending = []
        while sent < total:
            batch = producer.create_batch()
            now = time.time_ns() // 1_000_000
            for number in range(sent, min(sent + _CHUNK, total)):
                batch.append(key=None, value=event(number), timestamp=now)
            batch.close()
            partition = (sent // _CHUNK) % _PARTITIONS
            pending.append(await producer.send_batch(batch, topic, partition=partition))
            sent += _CHUNK
            if rate and (ahead := sent / rate - (time.perf_counter() - started)) > 0:
                await anyio.sleep(ahead)
        for future in pending:
            await future


if __name__ == "__main__":
    brokers, topic, rate, seconds, *rest = sys.argv[1:]
    anyio.run(feed, brokers, topic, float(rate), float(seconds), int(rest[0]) if rest else 0)
