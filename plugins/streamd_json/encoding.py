"""Events to JSON, without the silent losses of the encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from streamd.api import Reject, Rejected

_encode = msgspec.json.Encoder().encode


def encode_all(values: Sequence[Any]) -> list[bytes]:
    """One JSON text per value.

    Raises Rejected for values that JSON cannot say: NaN and infinities (msgspec writes null for
    them), lone surrogates, objects of unknown types.
    """
    try:
        texts = list(map(_encode, values))
    except (TypeError, ValueError, OverflowError, RecursionError):
        texts, rejects = _encode_each(values)
    else:
        rejects = {}
    if b"null" in b"".join(texts):
        for row, text in enumerate(texts):
            if b"null" in text and _has_nan(values[row]):
                rejects[row] = Reject("not_encodable", "JSON has no NaN and no infinity")
    if rejects:
        raise Rejected(rejects)
    return texts


def _encode_each(values: Sequence[Any]) -> tuple[list[bytes], dict[int, Reject]]:
    texts: list[bytes] = []
    rejects: dict[int, Reject] = {}
    for row, value in enumerate(values):
        try:
            texts.append(_encode(value))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            texts.append(b"")
            rejects[row] = Reject("not_encodable", str(error), error_type=type(error).__name__)
    return texts, rejects


def _has_nan(value: Any) -> bool:
    stack = [msgspec.to_builtins(value)]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
        elif isinstance(item, float) and not math.isfinite(item):
            return True
    return False
