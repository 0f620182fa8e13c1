"""A batch in ClickHouse's Native format, in which it goes over the wire.

Written here instead of by the client library for speed: it writes a String column value by value,
at 0.15 to 0.5 microseconds each, where joining the whole column takes 0.04.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from streamd.api import Batch
from streamd_clickhouse.rows import Column
from streamd_clickhouse.types import varint

# Field 1, no overflow rows; field 2, bucket -1; end of fields.
_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"


class Block(Struct, frozen=True):
    """One insert: its columns (name, the server's type) and, depending on who encodes, either
    their fitted values or the encoded `parts` of all of them."""

    columns: tuple[tuple[str, str], ...]
    rows: int
    values: Sequence[Sequence[Any]]
    parts: Sequence[bytes]


def column_head(column: Column) -> bytes:
    """What stands before the data of a column."""
    return _text(column.name) + _text(column.spelling) + column.type.prefix


def head_of(columns: int, rows: int) -> bytes:
    """What stands before the columns."""
    return _INFO + varint(columns) + varint(rows)


def token_of(place: Iterable[str], batch: Batch, parts: Iterable[bytes]) -> str:
    """Identifies an insert to a server that drops repeated ones.

    The content is part of it beside the positions: halves of a batch, rows that one event became
    and a topic that was made anew share positions, and an insert that is taken for another one is
    lost.
    """
    digest = hashlib.sha256()
    for word in (*place, *(span.partition for span in batch.spans)):
        digest.update(word.encode() + b"\0")
    digest.update(array("q", batch.offsets).tobytes())
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:32]


def _text(text: str) -> bytes:
    encoded = text.encode()
    return varint(len(encoded)) + encoded
