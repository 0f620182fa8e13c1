"""The same windows for a program of one's own, without a pipeline. Times are in seconds.

A timestamp is a number of seconds since the epoch, a datetime or an RFC 3339 text with a zone.
Nothing here reads a clock, except `StreamProcessor` for events that bring no time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable, Mapping
from datetime import datetime
from typing import Any

from streamd_windows.aggregates import Cells, Column, Count
from streamd_windows.aggregates.groups import GroupCount
from streamd_windows.aggregates.numbers import Sum, total
from streamd_windows.aggregates.ordered import Collect
from streamd_windows.join_buffer import LEFT, RIGHT, JoinBuffer
from streamd_windows.join_queue import Held
from streamd_windows.keys import canonical, plain
from streamd_windows.layout import Layout
from streamd_windows.results import ResultRows
from streamd_windows.rows import Columns, Rows
from streamd_windows.sessions import SessionWindower
from streamd_windows.times import to_ms

Timestamp = float | datetime | str


class TimeWindow:
    """The events of the last `duration_seconds`, to be looked at every `slide_seconds`.

    Without a slide it is looked at once per duration (tumbling). Raises ValueError if a length
    is not positive, or the slide longer than the duration.
    """

    def __init__(self, duration_seconds: float, slide_seconds: float | None = None) -> None:
        slide = duration_seconds if slide_seconds is None else slide_seconds
        size_ms, slide_ms = round(duration_seconds * 1000), round(slide * 1000)
        if not 1 <= slide_ms <= size_ms:
            raise ValueError("a window needs 0 < slide <= duration")
        self.duration_seconds = duration_seconds
        self.slide_seconds = slide
        self._layout = Layout(size_ms, slide_ms)
        self._panes: dict[int, list[tuple[int, int, Any]]] = {}
        self._latest: int | None = None
        self._count = 0

    def add_event(self, event: Any, timestamp: Timestamp) -> None:
        """Add an event, in any order of time; one older than the window is dropped."""
        at = _ms(timestamp)
        if self._latest is None or at > self._latest:
            self._latest = at
        oldest = self._latest - self._layout.size
        if at <= oldest:
            return
        self._count += 1
        self._panes.setdefault(self._layout.pane_of(at), []).append((at, self._count, event))
        for pane in [pane for pane in self._panes if pane + self._layout.pane <= oldest]:
            del self._panes[pane]

    def is_ready(self, current_time: Timestamp, last_trigger: Timestamp | None) -> bool:
        """Whether it is time to look again; always if it was never looked at."""
        if last_trigger is None:
            return True
        return _ms(current_time) - _ms(last_trigger) >= self._layout.slide

    def get_events(self) -> list[Any]:
        """The events in the window that ends with the latest one, in the order of time."""
        if self._latest is None:
            return []
        oldest = self._latest - self._layout.size
        held = [entry for pane in self._panes.values() for entry in pane if entry[0] > oldest]
        return [event for _, _, event in sorted(held, key=lambda entry: entry[:2])]


class SessionWindow:
    """Sessions that end when an id is silent for `session_timeout_seconds`.

    Holds the latest `max_events` events of a session at most.
    """

    def __init__(self, session_timeout_seconds: float, max_events: int = 10_000) -> None:
        self.session_timeout_seconds = session_timeout_seconds
        events = Collect(max_events, plain=False)
        columns = Columns([Column("events", "$", events), Column("event_count", None, Count())])
        rows = ResultRows("library", "session", ("session_id",))
        self._windower = SessionWindower(round(session_timeout_seconds * 1000), columns, rows)
        self._slice, _ = self._windower.slices.of("events:0")
        self._events = events
        self._count = 0

    def add_event(self, event: Any, session_id: Hashable, timestamp: Timestamp) -> None:
        """Add an event to its session; one that lies between two sessions merges them."""
        at = _ms(timestamp)
        place = (at, "", self._count)
        self._count += 1
        one = Rows(self._slice, None, [session_id], [at], [event], [0], [[event]], [place])
        self._windower.add(one, None)

    def get_session(self, session_id: Hashable) -> dict[str, Any] | None:
        """The latest session of an id, None if there is none.

        `{"session_id", "start", "end", "last_event", "duration", "event_count", "events"}`; `end`
        is when it times out, `duration` goes from the first to the last event, in seconds.
        """
        held = self._slice.body.of(session_id)
        if not held:
            return None
        session = max(held, key=lambda one: one.last)
        counts, events = self._slice.body.cells[:2]
        return {
            "session_id": session_id,
            "start": session.start / 1000,
            "end": session.last / 1000 + self.session_timeout_seconds,
            "last_event": session.last / 1000,
            "duration": (session.last - session.start) / 1000,
            "event_count": counts[session.number],
            "events": self._events.result(events.get(session.number)),
        }

    def close_expired(self, current_time: Timestamp) -> list[dict[str, Any]]:
        """Forget the sessions that have ended by this time; returns their results."""
        return [
            row
            for chunks in self._windower.advance(_ms(current_time))
            for chunk in chunks
            for row in chunk.values
        ]

    def __len__(self) -> int:
        """How many sessions are held."""
        held: int = self._slice.body.live
        return held


class StreamAggregator:
    """Running counts, sums and most frequent keys. Sums of floats are exact until they are read."""

    def __init__(self) -> None:
        self._count, self._sum, self._groups = Count(), Sum(), GroupCount()
        self._counts: Cells = self._count.cells()
        self._sums: Cells = {}
        self._grouped: Cells = {}

    def count(self, key: Hashable) -> int:
        """Count one more of a key; returns its count."""
        self._count.update(self._counts, (key,), (), ())
        counted: int = self._counts[key]
        return counted

    def sum(self, key: Hashable, value: float) -> float:
        """Add a number to a key's sum; returns the sum. Raises ValueError if it is no number."""
        if self._sum.update(self._sums, (key,), (value,), ()):
            raise ValueError(f"not a number that can be added: {value!r}")
        added: float = total(self._sums[key])
        return added

    def group_count(self, group: Hashable, key: Hashable) -> int:
        """Count one more of a key within a group; returns its count there.

        Raises ValueError if the key is None.
        """
        if self._groups.update(self._grouped, (group,), (key,), ()):
            raise ValueError("None is no key")
        counted: int = self._grouped[group].get(canonical(key), 0)
        return counted

    def top_k(self, group: Hashable, k: int) -> list[tuple[Any, int]]:
        """The most frequent keys of a group with their counts, the most frequent first."""
        ranked = self._groups.ranked(self._grouped.get(group, {}))[:k]
        return [(plain(key), count) for key, count in ranked]


class StreamJoiner:
    """Pairs of left and right events with the same key, at most `join_window_seconds` apart.

    Events may come out of order by up to one window more; what is older is let go.
    """

    def __init__(self, join_window_seconds: float) -> None:
        self.join_window_seconds = join_window_seconds
        self._buffer = JoinBuffer(join_window_seconds)
        self._joined: deque[tuple[float, dict[str, Any]]] = deque()
        self._latest = float("-inf")

    def add_left(self, key: Hashable, event: Any, timestamp: Timestamp) -> None:
        self._add(LEFT, key, event, timestamp)

    def add_right(self, key: Hashable, event: Any, timestamp: Timestamp) -> None:
        self._add(RIGHT, key, event, timestamp)

    def get_joined_events(self) -> list[dict[str, Any]]:
        """The pairs of which one event is not older than two windows, as they were found.

        `{"key", "left", "right", "left_time", "right_time", "time_diff"}`; `time_diff` is how far
        apart the two are, in seconds, never negative.
        """
        return [pair for _, pair in self._joined]

    def _add(self, side: int, key: Hashable, event: Any, timestamp: Timestamp) -> None:
        at = _seconds(timestamp)
        held = Held(side, key, at, event)
        for _, other in self._buffer.pairs(side, [held]):
            left, right = (held, other) if side == LEFT else (other, held)
            pair = {
                "key": key,
                "left": left.value,
                "right": right.value,
                "left_time": left.time,
                "right_time": right.time,
                "time_diff": abs(left.time - right.time),
            }
            self._joined.append((max(left.time, right.time), pair))
        self._buffer.add(side, [held])
        self._latest = max(self._latest, at)
        oldest = self._latest - 2 * self.join_window_seconds
        self._buffer.before(oldest, len(self._buffer))
        while self._joined and self._joined[0][0] < oldest:
            self._joined.popleft()


class StreamProcessor:
    """Watches a stream of events: a window over all, sessions, and where events come from.

    An event is `{"timestamp", "payload": {"source", "session_id", "user_id", ...}}`; what is
    missing is left out, and without a timestamp the event counts as of now.
    """

    def __init__(self, window_duration: float, session_timeout: float = 1800.0) -> None:
        self.window = TimeWindow(window_duration)
        self.sessions = SessionWindow(session_timeout)
        self.aggregator = StreamAggregator()
        self._events = 0

    def process_event(self, event: Mapping[str, Any]) -> None:
        """Take one event in. Raises ValueError if its timestamp is no time."""
        stamp = event.get("timestamp")
        at = time.time() if stamp is None else _seconds(stamp)
        payload = event.get("payload")
        if not isinstance(payload, Mapping):
            payload = event
        self._events += 1
        self.window.add_event(event, at)
        session = payload.get("session_id") or payload.get("user_id")
        if session is not None:
            self.sessions.add_event(event, session, at)
            self.sessions.close_expired(at)
        for field, group in (("source", "sources"), ("event_type", "event_types")):
            if payload.get(field) is not None:
                self.aggregator.group_count(group, payload[field])

    def get_stats(self) -> dict[str, Any]:
        """`window_count` is the number of events in the window, `events` of all so far."""
        return {
            "events": self._events,
            "window_count": len(self.window.get_events()),
            "active_sessions": len(self.sessions),
            "top_sources": self.aggregator.top_k("sources", 10),
            "event_types": dict(self.aggregator.top_k("event_types", 10)),
        }


def _seconds(timestamp: Timestamp) -> float:
    if isinstance(timestamp, int | float):
        return timestamp
    return to_ms(timestamp) / 1000


def _ms(timestamp: Timestamp) -> int:
    if isinstance(timestamp, int | float):
        return round(timestamp * 1000)
    return to_ms(timestamp)
