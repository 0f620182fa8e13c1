"""The jobs, their events and how many results are right.

Events are in order of time and of one partition, so that each side must give the same results:
what differs between the three in lateness and in merging partitions is not measured here.
Standard library only: all sides import it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from random import Random
from typing import Literal, NamedTuple

Kind = Literal["tumbling", "sliding", "session", "join"]
START = 1_763_548_200_000  # ms since the epoch
TICK = 2  # ms; gaps are odd, so that none is met exactly and `<` or `<=` makes no difference


class Job(NamedTuple):
    """`size`, `slide`: ms; size is the gap of a session and the reach of a join.

    `per_tick`: events per 2 ms of event time. `alone`: only streamd runs it; others take minutes.
    """

    title: str
    kind: Kind
    keys: int
    events: int
    size: int
    slide: int = 0
    per_tick: int = 20
    alone: bool = False


class Record(NamedTuple):
    """`side`: index of the stream, which only a join has two of. `timestamp`: ms."""

    side: int
    timestamp: int
    key: bytes
    value: bytes


JOBS: dict[str, Job] = {
    "1k": Job("tumbling 10 s, count by 1K keys", "tumbling", 1_000, 300_000, 10_000),
    "1m": Job("tumbling 10 s, count by 1M keys", "tumbling", 1_000_000, 1_000_000, 10_000, 0, 200),
    # Five events per key and window in both: what differs is how many keys are held.
    "held-1k": Job(
        "tumbling 50 ms, count by 1K keys", "tumbling", 1_000, 5_000_000, 50, 0, 200, alone=True
    ),
    "held-1m": Job(
        "tumbling 50 s, count by 1M keys",
        "tumbling",
        1_000_000,
        5_000_000,
        50_000,
        0,
        200,
        alone=True,
    ),
    "sliding": Job(
        "sliding 10 s by 1 s, count by 1K keys", "sliding", 1_000, 200_000, 10_000, 1_000
    ),
    "session": Job("session 0.3 s, count by 1K keys", "session", 1_000, 100_000, 301),
    "join": Job("join within 0.1 s, 1K keys", "join", 1_000, 200_000, 101),
}


def sides(job: Job) -> int:
    """How many streams the job reads."""
    return 2 if job.kind == "join" else 1


def records(job: Job) -> Iterator[Record]:
    """All events, then one per stream that is far enough ahead to close every window before it."""
    last = START
    for number, (side, last, user) in enumerate(_plan(job)):
        yield Record(side, last, b"user%d" % user, _value(number, b"user%d" % user))
    for side in range(sides(job)):  # so far apart that they do not join each other
        yield Record(side, last + 600_000 * (side + 1), b"end", _value(job.events + side, b"end"))


def expected(job: Job) -> int:
    """Results that a job gives, without those of the last record."""
    if job.kind == "session":
        return _sessions(job)
    if job.kind == "join":
        return _pairs(job)
    step = job.slide or job.size
    found: set[tuple[int, int]] = set()
    for _, timestamp, user in _plan(job):
        latest = timestamp - timestamp % step
        found.update((user, start) for start in range(latest, timestamp - job.size, -step))
    return len(found)


def _sessions(job: Job) -> int:
    latest: dict[int, int] = {}
    count = 0
    for _, timestamp, user in _plan(job):
        count += timestamp - latest.get(user, 0) > job.size
        latest[user] = timestamp
    return count


def _pairs(job: Job) -> int:
    seen: dict[tuple[int, int], list[int]] = defaultdict(list)
    count = 0
    for side, timestamp, user in _plan(job):
        others = seen[1 - side, user]
        while others and timestamp - others[0] > job.size:
            others.pop(0)
        count += len(others)
        seen[side, user].append(timestamp)
    return count


def _plan(job: Job) -> Iterator[tuple[int, int, int]]:
    """Stream, timestamp and user of each event; the same in every process."""
    random, streams = Random(1), sides(job)
    for number in range(job.events):
        timestamp = START + number // job.per_tick * TICK
        yield number % streams, timestamp, random.randrange(job.keys)


def _value(number: int, user: bytes) -> bytes:
    return (
        b'{"id":"evt_%d","timestamp":"2025-11-19T10:30:00Z","payload":{"event_type":"user_action",'
        b'"source":"web_app","user_id":"%b","session_id":"sess456","ip_address":"192.168.1.1",'
        b'"data":{"action":"click","element":"submit_button","page":"/checkout","amount":%d.25},'
        b'"tags":["frontend","conversion"],"version":"1.0"}}'
    ) % (number, user, number % 1000)
