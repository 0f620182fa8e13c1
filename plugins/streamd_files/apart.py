"""Telling apart dead letters that would share one name.

The name of a dead letter is made of its event's time and id, so that a replay overwrites its own.
Two different events may have both in common. Which of them came first only the store knows: it
keeps the name, and the other's gets a mark of the place that its event has in its source. After a
crash the same letters find the same names.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

Place = tuple[str, int, int]
"""Topic, partition and offset of an event."""


def place_of(document: Any) -> Place | None:
    """The place of a dead letter's event; None if this is no dead letter."""
    try:
        metadata = document["metadata"]
        return str(document["topic"]), int(metadata["partition"]), int(metadata["offset"])
    except (KeyError, TypeError, ValueError):
        return None


def place_in(body: bytes) -> Place | None:
    """The place in a document as it is stored; None if it cannot be read."""
    try:
        return place_of(msgspec.json.decode(body))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def told_apart(name: str, suffix: str, place: Place) -> str:
    """The name for the letter of another event; `suffix` is what all names end in."""
    stem = name.removesuffix(suffix)
    mark = hashlib.blake2b(msgspec.json.encode(place), digest_size=6).hexdigest()
    return f"{stem}-{mark}{name[len(stem) :]}"
