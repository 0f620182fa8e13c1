"""Events and batches to test with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from streamd.api import Batch, Header, Span

COLUMNS = tuple(name for name in Batch.__slots__ if not name.startswith("_"))
START_MS = 1_763_548_200_000  # 2025-11-19T10:30:00Z


def sample_event(number: int, text: str = "click") -> dict[str, Any]:
    """A valid event with the id `evt_<number>`; `text` ends up in its payload."""
    return {
        "id": f"evt_{number}",
        "timestamp": "2025-11-19T10:30:00Z",
        "payload": {
            "event_type": "user_action",
            "source": "web_app",
            "user_id": f"user{number % 7}",
            "data": {"action": text, "number": number},
            "tags": ["frontend"],
            "version": "1.0",
        },
    }


def batch_of(
    values: Sequence[Any],
    *,
    partition: str = "events:0",
    first: int = 0,
    timestamps: Sequence[int] | None = None,
    raws: Sequence[bytes | None] | None = None,
    keys: Sequence[bytes | None] | None = None,
    headers: Sequence[Sequence[Header] | None] | None = None,
) -> Batch:
    """A decoded batch of one partition with the offsets `first`, `first + 1`, and so on.

    Its raws are the values as JSON unless they are given; its timestamps a second apart.
    """
    offsets = list(range(first, first + len(values)))
    if raws is None:
        raws = [msgspec.json.encode(value) for value in values]
    if timestamps is None:
        timestamps = [START_MS + offset * 1000 for offset in offsets]
    return Batch(
        list(values),
        offsets=offsets,
        timestamps=list(timestamps),
        spans=[Span(partition, first, first + len(values), len(values))],
        raws=list(raws),
        keys=keys,
        headers=headers,
    )
