"""Values as plain data."""

from __future__ import annotations

from typing import Any

import msgspec


def to_plain(value: Any) -> Any:
    """A value as dicts, lists, strings and numbers; what is no data at all stays as it is."""
    try:
        return msgspec.to_builtins(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return value
