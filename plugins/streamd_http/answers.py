"""From what became of events to what the client is told. Pure.

A 2xx says that every event of the request is safe, so the status is that of the event that fared
worst; the body has the outcome of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from streamd.api import Settlement, Violation
from streamd_http.inbox import Exceptions

Status = Literal["stored", "accepted", "dead_lettered", "rejected", "dropped"]

# From best to worst: to send again helps where it may be stored next time, so that comes first.
_CODES: dict[Status, int] = {
    "stored": 200,
    "accepted": 202,
    "dead_lettered": 202,
    "rejected": 422,
    "dropped": 503,
}


class EventAnswer(Struct, omit_defaults=True, kw_only=True):
    """The outcome of one event."""

    status: Status
    id: str | None = None
    errors: Sequence[Violation] = ()
    dlq_id: str | None = None


class BatchAnswer(Struct):
    """The outcomes of a request's events, in their order. `status` is the worst of them."""

    status: Status
    events: Sequence[EventAnswer]


class Problem(Struct, omit_defaults=True):
    """Why a request was not taken."""

    error: str


_encode = msgspec.json.Encoder().encode


def answer(
    ids: Sequence[str | None], exceptions: Exceptions, *, single: bool, usual: Status
) -> tuple[int, bytes]:
    """Status code and body of the answer. `usual` is what became of events without exception."""
    events = [EventAnswer(status=usual, id=name) for name in ids]
    worst = usual
    for at, settlement in exceptions.items():
        events[at] = told = _told(ids[at], settlement)
        worst = max(worst, told.status, key=_CODES.__getitem__)
    return _CODES[worst], encode(events[0] if single else BatchAnswer(worst, events))


def encode(message: object) -> bytes:
    """JSON of an answer."""
    try:
        return _encode(message)
    except UnicodeEncodeError:
        # An id may hold half a surrogate pair, which JSON can spell and UTF-8 cannot.
        return _encode(_printable(msgspec.to_builtins(message)))


def _printable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return value


def _told(name: str | None, settlement: Settlement) -> EventAnswer:
    reject = settlement.reject
    errors: Sequence[Violation] = ()
    if reject is not None:
        errors = reject.violations or (Violation("$", reject.message),)
    return EventAnswer(
        status=_status(settlement), id=name, errors=errors, dlq_id=settlement.dead_letter_id
    )


def _status(settlement: Settlement) -> Status:
    """What an outcome is for the client.

    An event that decoding or validation refuses is the client's to mend, whatever the policies
    did with it.
    """
    reject = settlement.reject
    if settlement.outcome == "dead_lettered":
        refused = reject is not None and settlement.role in ("source", "validate")
        return "rejected" if refused else "dead_lettered"
    if settlement.outcome == "dropped":
        return "dropped" if reject is None else "rejected"
    return "rejected"
