"""The dead-letter document: everything that is known of an event that could not be processed.

Pure. A document is the same for the same event and failure, whenever it is made, except for
`failed_at`; its id names the event, so that a replay overwrites it.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from streamd.api import (
    VALID,
    Batch,
    Failure,
    Reject,
    Rejected,
    StreamdError,
    split_partition,
)
from streamd.engine.plain import base64_of, headers, plain, text
from streamd.settings.model import MAIN

_ABSENT: Any = object()
_MAX_ID = 160  # an id becomes part of object keys and file names, which end at 255 bytes


def documents(
    failure: Failure, *, now_ms: int, config_digest: str, apart: str = ""
) -> list[dict[str, Any]]:
    """One document per row of the failed batch.

    `now_ms` is the wall clock in milliseconds since the epoch; `config_digest` identifies the
    configuration under which the event failed. `apart` ends the ids: an event that fails in
    several stages has a document of each.
    """
    batch = failure.batch
    rejects = rejects_of(failure)
    failed_at = _rfc3339(now_ms)
    decoded = batch.decoded
    docs = [
        _document(failure, batch, row, rejects[row], decoded)
        | {"failed_at": failed_at, "config": config_digest}
        for row in range(len(batch))
    ]
    for doc in docs:
        doc["dlq_id"] += apart
    _tell_apart(docs)
    return docs


def _document(
    failure: Failure, batch: Batch, row: int, reject: Reject, decoded: bool
) -> dict[str, Any]:
    partition, offset = batch.locate(row)
    topic, number = split_partition(partition)
    value = batch.values[row] if decoded else _ABSENT
    raw = batch.raws[row] if batch.raws is not None else _ABSENT
    if raw is None and value is not _ABSENT and value is not None:
        raw = _ABSENT  # a derived row, merged with others that have raws; no tombstone
    original, parsed = _original(raw, value)
    document: dict[str, Any] = {
        "dlq_id": dead_letter_id(parsed, batch.timestamps[row], topic, number, offset),
        **original,
        "error": {
            "type": reject.error_type,
            "message": reject.message,
            "traceback": reject.traceback,
        },
        "retry_count": failure.attempt - 1,
        "metadata": {"partition": number, "offset": offset},
        "pipeline": failure.pipeline,
        "stage": failure.stage,
        "reason": reject.reason,
        "attempts": failure.attempt,
        "topic": topic,
        "timestamp": batch.timestamps[row],
        "key": text(batch.keys[row]) if batch.keys is not None else None,
        "headers": headers(batch.headers[row]) if batch.headers is not None else [],
    }
    if reject.violations:
        document["violations"] = reject.violations
    if batch.statuses is not None and batch.statuses[row] != VALID:
        document["validation_status"] = batch.statuses[row]
    if failure.role not in ("source", "sink") and batch.stream not in (None, MAIN):
        document["stream"] = batch.stream
    if value is not _ABSENT and value is not None and (seen := plain(value)) != parsed:
        # The stage saw something else than what arrived: a replay into it needs just that.
        document["event"] = seen
        # Several rows may come of one event, and each needs a place of its own.
        document["dlq_id"] += "-" + _fingerprint(seen)
    return document


def dead_letter_id(event: Any, timestamp: int, topic: str, number: int, offset: int) -> str:
    """`dlq_<epoch ms>_<event id>`, escaped so that it can stand in an object key or file name.

    The event's place in its source stands for an id where it has none.
    """
    identity = str(event["id"]) if _has_id(event) else f"{topic}-{number}-{offset}"
    escaped = quote(identity, safe="", errors="backslashreplace")
    if len(escaped) > _MAX_ID:
        digest = hashlib.blake2b(identity.encode(errors="surrogatepass"), digest_size=8)
        escaped = f"{escaped[: _MAX_ID - 17]}-{digest.hexdigest()}"
    return f"dlq_{timestamp}_{escaped}"


def _tell_apart(docs: list[dict[str, Any]]) -> None:
    """Different messages of one id and millisecond must not overwrite each other."""
    seen: set[str] = set()
    for doc in docs:
        if doc["dlq_id"] in seen:
            doc["dlq_id"] += f"-{doc['metadata']['partition']}-{doc['metadata']['offset']}"
        seen.add(doc["dlq_id"])


def _has_id(event: Any) -> bool:
    found = event.get("id") if isinstance(event, dict) else None
    return found != "" and (
        isinstance(found, str) or (isinstance(found, int) and abs(found) < 2**64)
    )


def _original(raw: Any, value: Any) -> tuple[dict[str, Any], Any]:
    """The fields that hold the message as it arrived, and the message parsed."""
    if raw is _ABSENT:
        parsed = None if value is _ABSENT else plain(value)
        return {"original_message": parsed}, parsed
    if raw is None:
        return {"original_message": None}, None
    try:
        parsed = msgspec.json.decode(raw)
        again = msgspec.json.encode(parsed)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError, OverflowError):
        return {"original_message": None, "original_bytes": base64_of(raw)}, None
    if again == raw:
        return {"original_message": parsed}, parsed
    # Spacing, a key that comes twice, more digits than a float has: only the bytes tell.
    return {"original_message": parsed, "original_bytes": base64_of(raw)}, parsed


def rejects_of(failure: Failure) -> Sequence[Reject]:
    """Why each row of the failed batch is refused."""
    error, rows = failure.error, len(failure.batch)
    if isinstance(error, Rejected):
        return [error.rows[row] for row in range(rows)]
    return [reject_of(error)] * rows


def reject_of(error: Exception) -> Reject:
    """What a dead letter tells of an error that names no rows."""
    cause = error.__cause__ if isinstance(error, StreamdError) and error.__cause__ else error
    return Reject(
        reason_of(error),
        str(error),
        error_type=type(cause).__name__,
        traceback="".join(traceback.format_exception(error)),
    )


def reason_of(error: Exception) -> str:
    """A short label for an error that names no rows: its class, or `bug`."""
    return type(error).__name__.lower() if isinstance(error, StreamdError) else "bug"


def _fingerprint(value: Any) -> str:
    return hashlib.blake2b(msgspec.json.encode(value), digest_size=4).hexdigest()


def _rfc3339(now_ms: int) -> str:
    moment = datetime.fromtimestamp(now_ms // 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
