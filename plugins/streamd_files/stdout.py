"""Events onto standard output."""

from __future__ import annotations

import sys
from typing import ClassVar, Self

from anyio import to_thread

from streamd.api import Batch, BatchLimits, Fatal, StageConfig, StageContext
from streamd_files.encoding import codec_of, encode_lines


class StdoutSink:
    """Print each event as a line."""

    class Config(StageConfig, frozen=True, kw_only=True):
        pass

    batch: ClassVar[BatchLimits] = BatchLimits()

    def __init__(self, config: Config, context: StageContext) -> None:  # noqa: ARG002
        self._codec = codec_of(context, lines=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def write(self, batch: Batch) -> None:
        encoded = encode_lines(self._codec, batch)
        # In a thread, as the reader of a pipe may be slow.
        await to_thread.run_sync(_print, b"\n".join([*encoded.records, b""]))
        encoded.raise_rejects()


def _print(lines: bytes) -> None:
    try:
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()
    except (BrokenPipeError, ValueError) as error:
        raise Fatal("standard output is closed") from error
