"""From dead-letter documents back to a batch of events. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from streamd.api import VALID, Batch, Header, Span, partition_name
from streamd.engine.plain import ENCODED


class Origin(Struct, frozen=True):
    """Where in its partition an event stood."""

    partition: int
    offset: int


class Letter(Struct, frozen=True):
    """What of a document is needed to send its event through again.

    `edited` is not the engine's: whoever changes `event`, or the bytes, says so.
    """

    dlq_id: str
    stage: str
    topic: str
    metadata: Origin
    timestamp: int
    original_message: Any = None
    original_bytes: str | None = None
    event: Any = UNSET
    key: str | None = None
    headers: tuple[tuple[str, str | None], ...] = ()
    stream: str | None = None
    validation_status: str = VALID
    attempts: int = 1
    replays: int = 0
    edited: bool = False

    @property
    def place(self) -> tuple[str, int]:
        """Partition and offset."""
        return partition_name(self.topic, self.metadata.partition), self.metadata.offset

    @property
    def raw(self) -> bytes | None:
        """The event as it arrived; None for a tombstone."""
        if self.original_bytes is not None:
            return base64.b64decode(self.original_bytes)
        return None if self.original_message is None else msgspec.json.encode(self.original_message)

    @property
    def value(self) -> Any:
        """The event as the stage saw it, UNSET where only its bytes are known."""
        if self.event is not UNSET:
            return self.event
        unknown = self.original_message is None and self.original_bytes is not None
        return UNSET if unknown else self.original_message


def read(document: Any) -> Letter:
    """Raises ValueError if this is no document that the engine wrote."""
    letter = msgspec.convert(document, Letter)  # its ValidationError is a ValueError
    values = [value or "" for value in (letter.key, *(value for _, value in letter.headers))]
    encoded = [v.removeprefix(ENCODED) for v in values if v.startswith(ENCODED)]
    try:
        for text in (letter.original_bytes or "", *encoded):
            base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
    return letter


def batch_of(
    letters: Sequence[Letter], values: list[Any], raws: Sequence[bytes | None] | None = None
) -> Batch:
    """The events with the place, time, key and headers that they had.

    `values` is empty where a codec is still to decode them; `raws` are by default those that
    arrived.
    """
    statuses = [letter.validation_status for letter in letters]
    headers = [_headers(letter) for letter in letters]
    return Batch(
        values,
        offsets=[letter.metadata.offset for letter in letters],
        timestamps=[letter.timestamp for letter in letters],
        spans=_spans(letters),
        raws=[letter.raw for letter in letters] if raws is None else raws,
        keys=[_bytes(letter.key) for letter in letters],
        headers=headers if any(headers) else None,
        statuses=None if set(statuses) == {VALID} else statuses,
    )


def _spans(letters: Sequence[Letter]) -> list[Span]:
    """A span ends where the partition changes, or where offsets do not ascend."""
    spans: list[Span] = []
    for letter in letters:
        partition, offset = letter.place
        last = spans[-1] if spans else None
        if last is not None and last.partition == partition and last.stop <= offset:
            spans[-1] = last._replace(stop=offset + 1, rows=last.rows + 1)
        else:
            spans.append(Span(partition, offset, offset + 1, 1))
    return spans


def _headers(letter: Letter) -> list[Header]:
    # None as a value is what the client library gives for a header without one.
    return [(name, _bytes(value)) for name, value in letter.headers]  # type: ignore[misc]


def _bytes(text: str | None) -> bytes | None:
    if text is None:
        return None
    if text.startswith(ENCODED):
        return base64.b64decode(text.removeprefix(ENCODED))
    return text.encode("utf-8", "surrogatepass")
