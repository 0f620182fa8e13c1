"""The same questions asked event by event, with watermarks and lateness: slow and plain.

A trace is the polls of a run: (partition, offset of the first event, events).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.plugins.streamd_windows.harness import START, Event

NEVER = -(1 << 62)
Poll = tuple[str, int, Sequence[Event]]
Place = tuple[str, int]


class Seen(NamedTuple):
    """An event, where it stands, and the watermark once it had come. Times are since 1970."""

    place: Place
    key: Any
    time: int
    mark: int


Held = dict[tuple[int, int, Any], list[Seen]]  # by start, end and key


def seen(trace: Iterable[Poll], partitions: Iterable[str], slack: int) -> list[Seen]:
    """The events with the lowest watermark of all partitions, none of which is ever idle."""
    high, mark, found = dict.fromkeys(partitions, NEVER), NEVER, []
    for name, first, events in trace:
        for number, event in enumerate(events):
            time = START + event.time
            high[name] = max(high[name], time)
            mark = max(mark, min(high.values()) - slack)
            found.append(Seen((name, first + number), event.key, time, mark))
    return found


def windows(
    events: Iterable[Seen], size: int, slide: int, lateness: int
) -> tuple[Held, set[Place]]:
    """What each window holds in the end, and which events are late."""
    held: Held = defaultdict(list)
    late: set[Place] = set()
    for event in events:
        last = event.time - event.time % slide
        starts = range(last, event.time - size, -slide)
        open_ = [start for start in starts if start + size + lateness > event.mark]
        for start in open_:
            held[start, start + size, event.key].append(event)
        if not open_:
            late.add(event.place)
    return dict(held), late


def sessions(events: Iterable[Seen], gap: int, lateness: int) -> tuple[Held, set[Place]]:
    """What each session holds in the end, and which events are late."""
    live: list[list[Seen]] = []
    over: list[list[Seen]] = []
    late: set[Place] = set()
    for event in events:
        gone = [one for one in live if _end(one, gap) + lateness <= event.mark]
        live = [one for one in live if one not in gone]
        over += gone
        near = [one for one in live if _touches(one, event, gap)]
        if not near and event.time + gap + lateness <= event.mark:
            late.add(event.place)
            continue
        merged = [event, *(other for one in near for other in one)]
        live = [one for one in live if one not in near] + [merged]
    held = {(min(e.time for e in one), _end(one, gap), one[0].key): one for one in over + live}
    return held, late


def values(held: Sequence[Seen], of: Mapping[Place, Any]) -> list[Any]:
    """The values of some events in the order of event time."""
    return [of[one.place] for one in sorted(held, key=lambda one: (one.time, one.place))]


def _end(session: Sequence[Seen], gap: int) -> int:
    return max(event.time for event in session) + gap


def _touches(session: Sequence[Seen], event: Seen, gap: int) -> bool:
    first = min(one.time for one in session)
    return event.key == session[0].key and first - gap < event.time < _end(session, gap)
