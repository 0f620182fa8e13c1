"""One command at a time clears dead letters; and what it was about when it was cut short."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec


class BusyError(Exception):
    """Another command is at work."""


@contextmanager
def alone(state_dir: Path) -> Iterator[None]:
    """Raises BusyError, or OSError if the state directory may not be written."""
    folder = state_dir / "dlq"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusyError("another streamd dlq is clearing dead letters here") from error
        yield


class InHand:
    """The ids of the letters that were let in and may still stand in the store."""

    def __init__(self, state_dir: Path, pipeline: str, store: str) -> None:
        self._path = state_dir / "dlq" / f"{pipeline}.{store}.json"

    def left_over(self) -> list[str]:
        """Those of a command that was cut short."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[str])
        except (FileNotFoundError, msgspec.DecodeError):
            return []

    def begin(self, ids: Sequence[str]) -> None:
        """Durable before the letters are let in."""
        draft = self._path.with_suffix(".part")
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(list(ids)))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    def end(self) -> None:
        """They are out of the store."""
        self._path.unlink(missing_ok=True)
