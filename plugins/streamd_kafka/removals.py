"""What says that a dead letter in a topic is no more. Pure.

No record of a topic can be deleted by itself. So removing letters writes a record that names them
into their partition, behind them: whatever the topic's retention is, it outlives what it is about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec
from msgspec import Struct

MARK = "streamd-removed"
"""The header by which such a record is known."""


class Removal(Struct, frozen=True):
    """Ranges of offsets of the same partition, each from its first to behind its last."""

    removed: tuple[tuple[int, int], ...]


def encode(offsets: Collection[int]) -> bytes:
    """The record's value."""
    ranges: list[tuple[int, int]] = []
    for offset in sorted(set(offsets)):
        if ranges and ranges[-1][1] == offset:
            ranges[-1] = (ranges[-1][0], offset + 1)
        else:
            ranges.append((offset, offset + 1))
    return msgspec.json.encode(Removal(tuple(ranges)))


def decode(value: bytes | None) -> Iterable[int]:
    """The offsets that a record names; none of a record that is damaged."""
    try:
        found = msgspec.json.decode(value or b"", type=Removal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    for first, end in found.removed:
        yield from range(first, end)


def is_removal(headers: Sequence[tuple[str, bytes]]) -> bool:
    """Whether a record is one of these, by its headers."""
    return any(name == MARK for name, _ in headers)
