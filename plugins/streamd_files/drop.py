"""Events to nowhere."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from streamd.api import Batch, BatchLimits, StageConfig, StageContext, doc
from streamd_files.encoding import codec_of, encode


class DropSink:
    """Count events and forget them, to measure what comes before.

    - `rows`, `bytes`: what was written; the bytes as they arrived, or as they were encoded.
    """

    class Config(StageConfig, frozen=True, kw_only=True):
        encode: Annotated[bool, doc("Encode the events first, as a sink would.")] = False

    batch: ClassVar[BatchLimits] = BatchLimits(rows=10_000)

    def __init__(self, config: Config, context: StageContext) -> None:
        self._codec = codec_of(context) if config.encode else None
        self._log = context.log
        self.rows = 0
        self.bytes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._log.info("Counted and forgot", events=self.rows, bytes=self.bytes)

    async def write(self, batch: Batch) -> None:
        if self._codec is None:
            self.rows += len(batch)
            self.bytes += batch.size
            return
        encoded = encode(self._codec, batch)
        self.rows += len(encoded.records)
        self.bytes += sum(map(len, encoded.records))
        encoded.raise_rejects()
