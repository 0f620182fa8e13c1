"""Readers of values that hold others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streamd_avro.problems import Malformed
from streamd_avro.sizes import MAX_EMPTY_ITEMS
from streamd_avro.varint import read_long

Read = Callable[[bytes, int], tuple[Any, int]]

Step = tuple[str | None, Read, bool, bool]
"""A field to read: its name (None: read over it), how, whether to leave it out where it is null,
and whether to go on behind it (a field of the writer may feed several of the reader)."""


def read_record(steps: Sequence[Step], defaults: Sequence[tuple[str, Read, bytes]]) -> Read:
    """`defaults` are fields that the writer does not have: name (empty: left out), reader, data."""
    if all(name is not None and last for name, _, _, last in steps):
        read_fields = _whole([(str(name), read_field, omit) for name, read_field, omit, _ in steps])
    else:
        read_fields = _picked(steps)
    if not defaults:
        return read_fields
    return _with_defaults(read_fields, [one for one in defaults if one[0]])


def _whole(fields: Sequence[tuple[str, Read, bool]]) -> Read:
    """Every field of the writer, in its order, each into one of the reader."""

    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        record = {}
        for name, read_field, omit in fields:
            value, at = read_field(data, at)
            if value is not None or not omit:
                record[name] = value
        return record, at

    return read


def _picked(steps: Sequence[Step]) -> Read:
    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        record = {}
        for name, read_field, omit, last in steps:
            value, end = read_field(data, at)
            if name is not None and not (omit and value is None):
                record[name] = value
            if last:
                at = end
        return record, at

    return read


def _with_defaults(read_fields: Read, defaults: Sequence[tuple[str, Read, bytes]]) -> Read:
    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        record, at = read_fields(data, at)
        for name, read_default, default in defaults:
            # Read anew each time: two events must not share a list.
            record[name], _ = read_default(default, 0)
        return record, at

    return read


def read_array(read_item: Read, empty_items: bool) -> Read:
    def read(data: bytes, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        while data[at]:
            count, at, end = _block(data, at)
            if empty_items and count + len(items) > MAX_EMPTY_ITEMS:
                raise Malformed(f"more than {MAX_EMPTY_ITEMS} items of no bytes")
            for _ in range(count):
                item, at = read_item(data, at)
                items.append(item)
            if end is not None and at != end:
                raise Malformed("a block is not as long as it says")
        return items, at + 1

    return read


def read_map(read_value: Read, read_key: Read) -> Read:
    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        entries = 0
        while data[at]:
            count, at, end = _block(data, at)
            entries += count
            for _ in range(count):
                key, at = read_key(data, at)
                values[key], at = read_value(data, at)
            if end is not None and at != end:
                raise Malformed("a block is not as long as it says")
        if len(values) != entries:
            raise Malformed("a map has the same key twice")
        return values, at + 1

    return read


def _block(data: bytes, at: int) -> tuple[int, int, int | None]:
    """The number of items of a block, where they start, and where they end if it says so."""
    count, at = read_long(data, at)
    if count > 0:
        return count, at, None
    if count == 0:
        raise Malformed("a zero of several bytes")
    size, at = read_long(data, at)
    return -count, at, at + size


def read_optional(read_value: Read) -> Read:
    """The commonest union of all, null or something."""

    def read(data: bytes, at: int) -> tuple[Any, int]:
        tag = data[at]
        if tag == 2:
            return read_value(data, at + 1)
        if tag == 0:
            return None, at + 1
        return read_other(data, at)

    read_other = read_union([lambda _, at: (None, at), read_value])
    return read


def read_union(readers: Sequence[Read]) -> Read:
    tags = {at << 1: read for at, read in enumerate(readers[:64])}

    def read(data: bytes, at: int) -> tuple[Any, int]:
        branch = tags.get(data[at])
        if branch is not None:
            return branch(data, at + 1)
        number, at = read_long(data, at)
        if not 0 <= number < len(readers):
            raise Malformed(f"a union of {len(readers)} branches has no number {number}")
        return readers[number](data, at)

    return read
