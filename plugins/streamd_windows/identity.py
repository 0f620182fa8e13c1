"""Ids of results: the same in every run, so that a sink overwrites what a replay sends again."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from streamd_windows.keys import Key
from streamd_windows.packing import pack_key, packed_key

# Longer keys are hashed: somewhere an id is the name of a file.
_READABLE = 64


class Identities:
    """Ids of one stage's results.

    A row of a window has `pipeline/stage/window/key` where the key is a short ASCII text, and
    `pipeline/stage/window/pane/key` where each pane has an id of its own. `window` tells which one
    it is by its times in ms. Whatever else is a hash, 32 hexadecimal digits: it has no slash, so
    no two results share an id.
    """

    def __init__(self, pipeline: str, stage: str) -> None:
        self._prefix = f"{pipeline}/{stage}/"
        self._base = blake2b(packed_key((pipeline, stage)), digest_size=16)

    def hashed(self, *parts: Any) -> str:
        """The id of what no short text can tell."""
        digest = self._base.copy()
        digest.update(pack_key(parts))
        return digest.hexdigest()

    def row(self, window: str, key: Key, pane: int | None) -> str:
        """The id of one row; `pane` is None where all panes of a window share it."""
        if type(key) is str and len(key) <= _READABLE and key.isascii():
            place = f"{self._prefix}{window}/"
            return place + key if pane is None else f"{place}{pane}/{key}"
        return self.hashed(window, key) if pane is None else self.hashed(window, key, pane)

    def rows(self, window: str, keys: Sequence[Key]) -> list[str]:
        """The ids of the rows of a window that panes share: `row` of each key, in one go."""
        place = f"{self._prefix}{window}/"
        return [
            place + key
            if type(key) is str and len(key) <= _READABLE and key.isascii()
            else self.row(window, key, None)
            for key in keys
        ]
