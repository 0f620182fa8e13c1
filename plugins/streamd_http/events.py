"""From the bytes of a body to those of its events. Pure.

An event is taken apart only as far as it must be: an event that has an id and a timestamp goes on
byte for byte, and into one that lacks them they are spliced.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from streamd_http.media import Form
from streamd_http.refusal import Refused


class _Envelope(Struct, gc=False):
    """The two fields that are filled in; all else is skipped, not decoded."""

    id: Any = UNSET
    timestamp: Raw | UnsetType = UNSET


# What msgspec raises for records of all kinds: its own errors, bad UTF-8, nesting.
_UNREADABLE = (ValueError, RecursionError)

_envelope = msgspec.json.Decoder(_Envelope).decode
_array = msgspec.json.Decoder(list[Raw]).decode


def split(body: bytes, form: Form) -> tuple[list[bytes], bool]:
    """The events of a body, and whether it was one event by itself.

    Raises Refused (400) if there is no event in it, or if an array cannot be taken apart. What
    else is wrong with an event the pipeline says.
    """
    if form == "ndjson":
        lines = [line for line in map(bytes.strip, body.split(b"\n")) if line]
        return _some(lines), False
    if body.lstrip(b" \t\r\n")[:1] != b"[":
        return _some([body] if body.strip() else []), True
    try:
        return _some(list(map(bytes, _array(body)))), False
    except RecursionError:
        raise Refused(400, "nested too deep") from None
    except ValueError as error:
        raise Refused(400, f"malformed JSON: {error}") from None


def _some(raws: list[bytes]) -> list[bytes]:
    if not raws:
        raise Refused(400, "there is no event in the body")
    return raws


def complete(raws: Sequence[bytes], now_ms: int) -> tuple[list[bytes], list[str | None]]:
    """The events with id and timestamp, and their ids; None where an event has no readable one."""
    whole: list[bytes] = []
    ids: list[str | None] = []
    for raw in raws:
        try:
            envelope = _envelope(raw)
        except _UNREADABLE:
            whole.append(raw)
            ids.append(None)
            continue
        given = envelope.id
        if given is UNSET or envelope.timestamp is UNSET:
            raw, given = _fill(raw, envelope, now_ms)
        whole.append(raw)
        ids.append(given if type(given) is str else None)
    return whole, ids


def _fill(raw: bytes, envelope: _Envelope, now_ms: int) -> tuple[bytes, Any]:
    given, fields = envelope.id, []
    if given is UNSET:
        given = f"evt_{uuid.uuid4().hex}"
        fields.append(b'"id":"%b"' % given.encode())
    if envelope.timestamp is UNSET:
        fields.append(b'"timestamp":"%b"' % _rfc3339(now_ms).encode())
    start = raw.index(b"{") + 1
    rest = raw[start:]
    if rest.lstrip()[:1] != b"}":
        fields.append(b"")  # a comma before what is there already
    return raw[:start] + b",".join(fields) + rest, given


def _rfc3339(ms: int) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
