"""The values that identify an event, as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from streamd.api import Reject
from streamd_expressions import MISSING
from streamd_transforms.base import getter

_LONGEST: Final = 64
_DIGEST: Final = b"\xc1"
"""Starts a key that stands for its value; nothing in MessagePack starts so."""

_encode: Final = msgspec.msgpack.Encoder(order="sorted").encode
_encode_text: Final = msgspec.json.Encoder(order="sorted").encode
_FAILURES: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)


class Keys:
    """Reads the keys of events: the values at some paths, types told apart.

    `paths` are given by the settings that name them. Raises ConfigError if one is wrong.
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = ", ".join(paths.values())
        self._read: list[Callable[[Any], Any]] = [getter(paths[key], key) for key in paths]

    def of(self, values: Sequence[Any]) -> tuple[list[bytes | None], dict[int, Reject]]:
        """The key of each event, None where it has none, and the events that cannot have one.

        A part that is missing, null or "" is no identity: such an event has no key.
        """
        parts = self._parts(values)
        try:
            keys = [None if part is None else _encode(part) for part in parts]
        except _FAILURES:
            return self._one_by_one(parts)
        if any(key is not None and len(key) > _LONGEST for key in keys):
            keys = [key if key is None else _short(key) for key in keys]
        return keys, {}

    def _parts(self, values: Sequence[Any]) -> list[Any]:
        first, *more = [
            [None if value is MISSING or value == "" else value for value in map(read, values)]
            for read in self._read
        ]
        if not more:
            return first
        rows: Iterable[tuple[Any, ...]] = zip(first, *more, strict=True)
        return [None if None in row else row for row in rows]

    def _one_by_one(self, parts: list[Any]) -> tuple[list[bytes | None], dict[int, Reject]]:
        keys: list[bytes | None] = []
        rejects: dict[int, Reject] = {}
        for row, part in enumerate(parts):
            key = None
            try:
                key = None if part is None else _short(_encode_any(part))
            except _FAILURES as error:
                message = f"{self._paths} cannot be a key: {error}"
                rejects[row] = Reject("key", message, error_type=type(error).__name__)
            keys.append(key)
        return keys, rejects

    def reject_without(self) -> Reject:
        """The reject of an event that has no key."""
        return Reject("no_key", f"{self._paths} is missing, null or empty")


def _encode_any(part: Any) -> bytes:
    try:
        return _encode(part)
    except OverflowError:  # an integer of more than 64 bits
        return _DIGEST + _encode_text(part)


def _short(key: bytes) -> bytes:
    """Keys are many and held in memory, so a long one is replaced by its digest."""
    if len(key) <= _LONGEST:
        return key
    return _DIGEST + hashlib.blake2b(key, digest_size=24).digest()
