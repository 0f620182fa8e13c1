"""What makes two rows the same row: the question behind storing each event exactly once.

After a crash, and when a partition comes back, events are read again from the last checkpoint. A
row that is stored already must then be recognized, and a row that is not must never be taken for
one that is: the first mistake makes a duplicate, the second loses data.

**By place and content** (`once = "row"`). The identity of a row is its partition, its offset and
its content, hashed; the table has a unique index on it and a row that is there is left out. Place
alone is not enough. An event that became several rows gives them all one offset. Sources whose
offsets start again (a generator, a file that was truncated, a topic that was made anew) would
have their new events taken for old ones. Neither is the content alone: two events may well say
the same. Rows of one event that are equal in everything are told apart by counting them within
a write. What remains: if the engine cuts a batch right between two such twins, the second one is
taken for the first. And a row whose content is made anew each time (a transform that adds the
time of day) is stored again. A dead letter says when and how often it was tried; that does not
count as its content.

This needs no assumption on the order of rows, so it holds for every stream, dead letters
included, and is the default.

**By position** (`once = "position"`). For each partition the database holds how far it was stored,
written in the transaction of the rows, and rows before that position are left out. This is safe
only if a row can never come after a later one of its partition unless it was stored before. That
is so for one stream, written by one step, of a source whose offsets never start again. It is not
so

- for dead letters: an event that was tried four times is buried after its successors;
- where several streams are read, or steps join what was split: the rows of one stream come after
  all those of the other, though their offsets interleave. A crash between the two writes would
  let the position of the first hide the rows of the second;
- for a source that counts from 0 again.

The first two cases are refused as far as the settings show them; it is a choice that a person
makes, and never the default. Two further traps are closed here. The rows of one event may be cut
by the end of a write, so at the last offset rows are compared by content, not by position. And a
row that was rejected has not been stored, though the position moves past it: it is noted as a
hole, so that it is tried again if it comes again (a policy may be waiting for a person). The rows
of a write that failed whole and was given up are noted as a gap (see `gaps`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

_DIGEST_SIZE = 12
_UINT64 = 2**64 - 1
_PASSING = frozenset({"failed_at", "retry_count", "attempts", "config", "error"})


def row_digest(partition: str, offset: int, content: Any, twin: int = 0) -> bytes:
    """The identity of a row. `twin` counts rows of a write that are equal in everything.

    The offset stands in front, so that new rows are at the end of the index: twice as fast
    as all over it.
    """
    text = msgspec.msgpack.encode((partition, offset, content, twin))
    digest = hashlib.blake2b(text, digest_size=_DIGEST_SIZE).digest()
    return (offset & _UINT64).to_bytes(8, "big") + digest


def row_digests(places: Iterable[tuple[str, int]], contents: Iterable[Any]) -> list[bytes]:
    """The identities of the rows of one write."""
    digests: list[bytes] = []
    twins: Counter[bytes] = Counter()
    for (partition, offset), content in zip(places, contents, strict=True):
        digest = row_digest(partition, offset, content)
        seen = twins[digest]
        twins[digest] += 1
        digests.append(row_digest(partition, offset, content, seen) if seen else digest)
    return digests


def lasting_content(dead_letter: Mapping[str, Any]) -> bytes:
    """What a dead letter says of its event, without what differs when it is made again."""
    lasting = {name: value for name, value in dead_letter.items() if name not in _PASSING}
    return msgspec.json.encode(lasting)


class Position(Struct):
    """How far a partition was stored: `last` is the last offset, `tail` the rows stored at it."""

    last: int
    tail: dict[bytes, int]


class Places(Struct, frozen=True):
    """Where the rows of a write come from. `digest` gives the identity of a row by its index; it
    is asked for few of them."""

    partitions: Sequence[str]
    offsets: Sequence[int]
    digest: Callable[[int], bytes]


IsHole = Callable[[str, int, bytes], bool]
StoredInGap = Callable[[str, int, bytes], int | None]
"""How many rows of this place and identity are stored, None where the position alone tells."""


def rows_to_store(
    places: Places, positions: Mapping[str, Position], is_hole: IsHole, in_gap: StoredInGap
) -> list[int]:
    """The rows that are not stored yet, by the positions before this write."""
    seen: Counter[tuple[str, int, bytes]] = Counter()
    left = {name: Counter(position.tail) for name, position in positions.items()}
    fresh: list[int] = []
    for row, (partition, offset) in enumerate(zip(places.partitions, places.offsets, strict=True)):
        position = positions.get(partition)
        if position is None or offset > position.last:
            fresh.append(row)
            continue
        digest = places.digest(row)
        if offset == position.last and left[partition][digest] > 0:
            left[partition][digest] -= 1
        elif offset == position.last or is_hole(partition, offset, digest):
            fresh.append(row)
        elif (stored := in_gap(partition, offset, digest)) is not None:
            seen[partition, offset, digest] += 1
            if seen[partition, offset, digest] > stored:
                fresh.append(row)
    return fresh


def advance(
    places: Places,
    fresh: Sequence[int],
    rejected: Container[int],
    positions: Mapping[str, Position],
) -> dict[str, Position]:
    """The positions that change as these rows are stored, or rejected and so made holes."""
    last: dict[str, int] = {}
    for row in fresh:
        partition, offset = places.partitions[row], places.offsets[row]
        last[partition] = max(last.get(partition, offset), offset)
    changed: dict[str, Position] = {}
    for partition, offset in last.items():
        before = positions.get(partition)
        if before is not None and before.last > offset:
            continue
        tail = dict(before.tail) if before is not None and before.last == offset else {}
        changed[partition] = Position(offset, tail)
    for row in fresh:
        position = changed.get(places.partitions[row])
        at_end = position is not None and places.offsets[row] == position.last
        if position is not None and at_end and row not in rejected:
            digest = places.digest(row)
            position.tail[digest] = position.tail.get(digest, 0) + 1
    return changed
