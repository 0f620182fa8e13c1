"""Find the records that a decoder took but that its values do not hold in full.

A JSON decoder keeps the last of two equal keys, a typed one drops what its type does not know:
neither says so. The proof that nothing was dropped is a count of strings. Encoding the values
again gives exactly the strings (keys among them) that they hold, and everything that can be
dropped has a key: so a record has lost something if and only if it has more strings than its
value. A count is a small part of the cost of decoding, and is made once per batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from streamd_json.records import MAX_DEPTH, MAX_DIGITS

_encode = msgspec.json.Encoder().encode

_CHUNK = 64
"""Rows that are compared at once: buffers above 128 KiB would cost their page faults each time."""

_SMALLEST_DEEP = 2 * MAX_DEPTH  # bytes; a shorter record cannot be nested too deep
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_DIGITS = re.compile(rb"[0-9]{%d}" % MAX_DIGITS)
_HALF = MAX_DIGITS // 2


def incomplete(raws: Sequence[bytes], values: Sequence[Any]) -> list[int]:
    """Rows whose value lacks a part of the record.

    Each record is valid JSON and `values` holds what was decoded from it. Values of a type that
    adds strings of its own when encoded (defaults that are not omitted) are not supported.
    """
    rows: list[int] = []
    for first in range(0, len(raws), _CHUNK):
        texts, part = raws[first : first + _CHUNK], values[first : first + _CHUNK]
        arrived, encoded = b",".join(texts), _encode(part)
        # Most machines write JSON as the encoder does, to the byte: then there is nothing to count.
        if encoded[1:-1] != arrived and _strings(encoded) != _strings(arrived):
            rows += [
                row
                for row, (text, value) in enumerate(zip(texts, part, strict=True), start=first)
                if _strings(text) != _strings(_encode(value))
            ]
    return rows


def _strings(text: bytes) -> int:
    """Twice the number of strings in valid JSON."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return text.count(b'"')


def large(raws: Sequence[bytes]) -> list[int]:
    """Rows that are long enough for `nested_too_deep` and `has_long_number` to be true."""
    return [row for row, raw in enumerate(raws) if len(raw) >= _SMALLEST_DEEP]


def nested_too_deep(raw: bytes, value: Any) -> bool:
    """Whether the value, decoded from `raw`, is nested deeper than MAX_DEPTH."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    level, depth = [value if isinstance(value, dict | list) else msgspec.to_builtins(value)], 0
    while level:
        depth += 1
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
    return depth > MAX_DEPTH


def has_long_number(raw: bytes) -> bool:
    """Whether the record has a number of MAX_DIGITS digits or more in one run.

    An integer of that size is an error in the decoder; a fraction would be rounded silently.
    """
    # A run that long holds a whole aligned piece of half its length, and most pieces end the test
    # at their first byte. Only then is it worth to tell numbers from digits in a string.
    if not any(raw[at : at + _HALF].isdigit() for at in range(0, len(raw) - _HALF, _HALF)):
        return False
    return _DIGITS.search(_STRING.sub(b'""', raw)) is not None
