"""The last resort of a dead letter: a file under state_dir, fsynced before it counts as done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec
from anyio import to_thread

from streamd.api import LetterFiles, locked


def spill_path(state_dir: Path, pipeline: str) -> Path:
    """Where the spilled dead letters of a pipeline are."""
    return state_dir / "dead_letters" / f"{pipeline}.jsonl"


def spilled(state_dir: Path, pipeline: str) -> LetterFiles:
    """The same as a store, to be read and cleared."""
    return LetterFiles([spill_path(state_dir, pipeline)], _decode)


class Spill:
    """Appends documents to `dead_letters/<pipeline>.jsonl`, one a line."""

    def __init__(self, state_dir: Path, pipeline: str) -> None:
        self.path = spill_path(state_dir, pipeline)
        self._one = anyio.Lock()

    async def append(self, documents: Sequence[dict[str, Any]]) -> None:
        """Raises OSError if the disk does not take it: nothing may go on then."""
        async with self._one:
            await to_thread.run_sync(self._append, documents)

    def _append(self, documents: Sequence[dict[str, Any]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = b"".join(_encode(doc) + b"\n" for doc in documents)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        with locked(self.path, flags) as fd, os.fdopen(os.dup(fd), "ab") as file:
            if file.tell() and not self._ends_in_newline():
                file.write(b"\n")  # a crash has torn the last line
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _ends_in_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def _decode(line: bytes) -> dict[str, Any]:
    return msgspec.json.decode(line, type=dict[str, Any])


def _encode(document: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(document, enc_hook=repr)
    except Exception:  # the last resort has to take everything
        return msgspec.json.encode({"unencodable": ascii(document)})
