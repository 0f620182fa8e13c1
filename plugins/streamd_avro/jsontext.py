"""JSON within Avro: an object of any shape as a string."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

from streamd_avro.problems import NotEncodable

MAX_DEPTH = 400
"""Levels of nesting. Deeper values would be a trap for whatever walks them later."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def encode(value: Any) -> str:
    """The JSON text of a value.

    Raises NotEncodable for what JSON cannot say, NaN among it.
    """
    try:
        text = _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise NotEncodable(f"no JSON: {error}") from None
    if b"null" in text and _has_nan(msgspec.to_builtins(value)):
        raise NotEncodable("JSON has no NaN and no infinity")
    if _is_deep(text):
        raise NotEncodable(f"nested deeper than {MAX_DEPTH} levels")
    return text.decode()


def decode(text: str) -> Any:
    """The value of a JSON text.

    Raises ValueError if it is none, is nested too deep or has a key twice.
    """
    try:
        value = _decode(text)
    except RecursionError:
        raise ValueError(f"JSON nested deeper than {MAX_DEPTH} levels") from None
    data = text.encode()
    if _is_deep(data):
        raise ValueError(f"JSON nested deeper than {MAX_DEPTH} levels")
    # What we have written encodes to itself. Anything else is read once more, by a parser that
    # sees keys that come twice: keeping one of their values would lose the other.
    if _encode(value) != data:
        json.loads(text, object_pairs_hook=_unique)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a JSON object has the same key twice")


def _is_deep(text: bytes) -> bool:
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    depth = deepest = 0
    in_string = escaped = False
    for byte in text:
        if in_string:
            in_string = escaped or byte != 0x22
            escaped = byte == 0x5C and not escaped
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest > MAX_DEPTH


def _has_nan(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack += item.values()
        elif isinstance(item, list | tuple):
            stack += item
        elif isinstance(item, float) and not math.isfinite(item):
            return True
    return False
