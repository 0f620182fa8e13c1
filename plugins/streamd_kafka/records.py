"""From a batch of events to the parts of Kafka records. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from streamd.api import Batch, Codec, ConfigError, Header, Reject, Rejected
from streamd_expressions import MISSING, ExpressionError, compile_path

KeyOf = Callable[[Batch], Sequence[bytes | None] | None]


class Records(NamedTuple):
    """Columns of records."""

    values: list[bytes]
    keys: Sequence[bytes | None]
    headers: Sequence[Sequence[Header] | None] | None
    timestamps: Sequence[int]


def key_of(setting: str) -> KeyOf:
    """What gives the keys of a batch.

    Raises ConfigError if `setting` is neither source, none nor a path.
    """
    if setting == "none":
        return lambda _batch: None
    if setting == "source":
        return lambda batch: batch.keys
    try:
        getter = compile_path(setting)
    except ExpressionError as error:
        raise ConfigError(str(error), path="key") from None
    return lambda batch: [_key(getter(value)) for value in batch.values]


def _key(value: Any) -> bytes | None:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if value is None or value is MISSING:
        return None
    return value if isinstance(value, bytes) else msgspec.json.encode(value, order="deterministic")


def encode(batch: Batch, codec: Codec) -> tuple[Batch, list[bytes], dict[int, Reject]]:
    """What of the batch can be encoded, that encoded, and by row why the rest cannot be."""
    try:
        return batch, codec.encode(batch.values), {}
    except Rejected as error:
        good = batch.without(error.rows)
        return good, codec.encode(good.values) if len(good) else [], error.rows
