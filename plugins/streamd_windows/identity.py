"""Ids of results: the same in every run, so that a sink overwrites what a replay sends again."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from streamd_windows.keys import Key
from streamd_windows.packing import pack_key, packed_key

# Longer keys are hashed: an id is a file's name or a column's value somewhere.
_READABLE = 64


class Identities:
    """Ids of one stage's results.

    A window's row is `pipeline/stage/start/end/key`, times in ms since the epoch, where the key is
    a short ASCII text; with panes, `pipeline/stage/start/end/pane/key`. Whatever else is a hash of
    the same parts, 32 hexadecimal digits, which has no slash: no two results share an id.
    """

    def __init__(self, pipeline: str, stage: str) -> None:
        self._prefix = f"{pipeline}/{stage}/"
        self._seed = packed_key((pipeline, stage))

    def hashed(self, *parts: Any) -> str:
        """The id of what no text tells shortly."""
        return blake2b(self._seed + pack_key(parts), digest_size=16).hexdigest()

    def window(self, start: int, end: int, key: Key, pane: int | None) -> str:
        """The id of one row; `pane` is None where all panes of a window share it."""
        if type(key) is str and len(key) <= _READABLE and key.isascii():
            place = f"{self._prefix}{start}/{end}/"
            return place + key if pane is None else f"{place}{pane}/{key}"
        return self.hashed(start, end, key) if pane is None else self.hashed(start, end, key, pane)

    def of_window(self, start: int, end: int, keys: Sequence[Key]) -> list[str]:
        """The ids of all rows of a window that panes share: `window` of each, in one go."""
        place, other = f"{self._prefix}{start}/{end}/", self.window
        return [
            place + key
            if type(key) is str and len(key) <= _READABLE and key.isascii()
            else other(start, end, key, None)
            for key in keys
        ]
