"""The rules of the event, applied to many events at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from streamd.api import Reject
from streamd_events.checks import event_checks
from streamd_events.columns import suspects
from streamd_events.model import ClosedEvent, Event
from streamd_events.plain import to_plain
from streamd_events.problems import compile_type, problems
from streamd_events.verdicts import reject_of

# Values that no JSON decoder made (lone surrogates, say) raise more than msgspec's own error.
_NOT_CONVERTIBLE = (ValueError, TypeError, RecursionError)


class EventRules:
    """Decides on events. `max_data` is in bytes; `closed` refuses fields that are not known.

    `type` is the msgspec type of an event.
    """

    def __init__(self, *, ipv6: bool, max_data: int, closed: bool) -> None:
        self.type = ClosedEvent if closed else Event
        self._types: Any = list[self.type]  # type: ignore[name-defined]
        self._max_data = max_data
        self._checks = event_checks(ipv6=ipv6, max_data=max_data)
        self._walker = compile_type(self.type, self._checks)

    def judge(self, values: Sequence[Any]) -> dict[int, Reject]:
        """Why rows fail. `values` are decoded events: dicts, or any other value."""
        plain = [value if type(value) is dict else to_plain(value) for value in values]
        try:
            events = msgspec.convert(plain, self._types)
            rows: Sequence[int] = range(len(plain))
        except _NOT_CONVERTIBLE:
            plain = [to_plain(value) for value in values]  # a dict may hold Structs
            rows, events = self._convert_each(plain)
        failed = set(range(len(plain))).difference(rows)
        failed.update(rows[at] for at in suspects(events, self._checks, self._max_data))
        return {row: reject_of(problems(self._walker, plain[row])) for row in sorted(failed)}

    def judge_typed(self, rows: Sequence[int], events: Sequence[Event]) -> dict[int, Reject]:
        """Why rows fail whose events have been decoded into `type` already."""
        bad = sorted(suspects(events, self._checks, self._max_data))
        plain = [msgspec.to_builtins(events[at]) for at in bad]
        return {
            rows[at]: reject_of(problems(self._walker, event))
            for at, event in zip(bad, plain, strict=True)
        }

    def _convert_each(self, values: Sequence[Any]) -> tuple[list[int], list[Event]]:
        rows: list[int] = []
        events: list[Event] = []
        for row, value in enumerate(values):
            try:
                events.append(msgspec.convert(value, self.type))
                rows.append(row)
            except _NOT_CONVERTIBLE:
                continue
        return rows, events
