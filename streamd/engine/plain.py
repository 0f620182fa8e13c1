"""An event and what travels with it as plain JSON values, whatever they are."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from streamd.api import Header

ENCODED = "base64:"
"""What a key or header begins with that is no text, or a text that begins so itself."""


def plain(value: Any) -> Any:
    """The event as plain JSON values. What JSON has no form for becomes text: a document about
    an event must come about just where the event is the problem."""
    try:
        found = _without_nan(msgspec.to_builtins(value, enc_hook=repr))
        msgspec.json.encode(found)
    except Exception:
        try:
            return ascii(value)
        except Exception as error:
            return f"<{type(value).__name__} without a text: {type(error).__name__}>"
    return found


def _without_nan(value: Any) -> Any:
    """NaN and infinities as text: no JSON has them, and a sink would refuse the document."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value


def headers(given: Sequence[Header] | None) -> list[list[str | None]]:
    """Headers as pairs of texts."""
    return [[name, text(value)] for name, value in given or ()]


def text(value: bytes | None) -> str | None:
    """A key or header as text, or marked as `ENCODED`."""
    if value is None:
        return None
    try:
        decoded = value.decode()
    except UnicodeDecodeError:
        return ENCODED + base64_of(value)
    return ENCODED + base64_of(value) if decoded.startswith(ENCODED) else decoded


def base64_of(value: bytes) -> str:
    """Bytes as base64 text."""
    return base64.b64encode(value).decode()
