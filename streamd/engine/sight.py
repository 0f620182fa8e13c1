"""What a tap shows of an event: its value as it is now, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec

from streamd.api import VALID, Batch, Codec, Failure, Reject
from streamd.engine.dead_letter import rejects_of
from streamd.engine.plain import base64_of, headers, plain, text


class Sight:
    """A batch that leaves a stage for a stream, or what the stage makes a failure of.

    `codec` decodes the events, if they are not.
    """

    def __init__(
        self,
        pipeline: str,
        stage: str,
        batch: Batch,
        *,
        stream: str = "",
        codec: Codec | None = None,
        failure: Failure | None = None,
    ) -> None:
        self.stream = stream
        self.batch = batch
        self._of = {"pipeline": pipeline, "stage": stage} | ({"stream": stream} if stream else {})
        self._codec = codec
        self._failure = failure

    def values(self, rows: Sequence[int]) -> tuple[Sequence[int], list[Any]]:
        """The events of these rows, but for those that the codec refuses: they do not leave."""
        batch = self.batch
        if batch.decoded:
            return rows, [_readable(batch.values[row]) for row in rows]
        raws = [batch.raws[row] if batch.raws else None for row in rows]
        if self._codec is None:
            return rows, [_readable(raw) for raw in raws]
        values, rejects = self._codec.decode(raws)
        good = [at for at in range(len(rows)) if at not in rejects]
        return [rows[at] for at in good], [_readable(values[at]) for at in good]

    def text(self, row: int, value: Any) -> bytes:
        """A JSON object of the event, on one line."""
        batch = self.batch
        partition, offset = batch.locate(row)
        shown: dict[str, Any] = {
            **self._of,
            "partition": partition,
            "offset": offset,
            "timestamp": batch.timestamps[row],
        }
        if batch.keys is not None and batch.keys[row] is not None:
            shown["key"] = text(batch.keys[row])
        if batch.headers is not None and batch.headers[row]:
            shown["headers"] = headers(batch.headers[row])
        if batch.statuses is not None and batch.statuses[row] != VALID:
            shown["validation_status"] = batch.statuses[row]
        if self._failure is not None:
            shown["error"] = _error(self._rejects[row])
        if isinstance(value, bytes):
            return _line({**shown, "bytes": base64_of(value)})
        return _line({**shown, "value": value})

    @cached_property
    def _rejects(self) -> Sequence[Reject]:
        return () if self._failure is None else rejects_of(self._failure)


def _error(reject: Reject) -> dict[str, Any]:
    error = {"type": reject.error_type, "reason": reject.reason, "message": reject.message}
    return error | ({"violations": reject.violations} if reject.violations else {})


def _readable(value: Any) -> Any:
    """The event; bytes as the JSON that they are, if they are."""
    if not isinstance(value, bytes):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return value


def _line(shown: dict[str, Any]) -> bytes:
    try:
        line = msgspec.json.encode(shown)
        strange = b"null" in line  # which may stand for NaN or an infinity
    except Exception:  # JSON has no form for something in it
        strange = True
    if strange:
        line = msgspec.json.encode({name: plain(item) for name, item in shown.items()})
    return line
