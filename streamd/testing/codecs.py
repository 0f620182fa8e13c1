"""Codecs in tests: a plain one for sources and sinks, and how any is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio.lowlevel
import msgspec

from streamd.api import Codec, Reject, Rejected, Retryable, preparing


async def decode(codec: Codec, raws: Sequence[bytes | None]) -> tuple[list[Any], dict[int, Reject]]:
    """Decode as the engine does: prepared, if the codec has to be."""
    if (asking := preparing(codec)) is not None:
        await asking.prepare_to_decode(raws)
    return codec.decode(raws)


async def encode(codec: Codec, values: Sequence[Any]) -> list[bytes]:
    """Encode as the engine lets a sink do it: prepared, if the codec has to be."""
    if (asking := preparing(codec)) is not None:
        await asking.prepare_to_encode(values)
    return codec.encode(values)


class PlainJson:
    """JSON without options, so that a sink's test needs no codec plugin."""

    content_type = "application/json"
    extension = ".json"

    def decode(self, raws: Sequence[bytes | None]) -> tuple[list[Any], dict[int, Reject]]:
        values: list[Any] = []
        rejects: dict[int, Reject] = {}
        for row, raw in enumerate(raws):
            try:
                values.append(msgspec.json.decode(raw or b""))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                values.append(None)
                rejects[row] = Reject("malformed", str(error))
        return values, rejects

    def encode(self, values: Sequence[Any]) -> list[bytes]:
        records: list[bytes] = []
        rejects: dict[int, Reject] = {}
        for row, value in enumerate(values):
            try:
                records.append(msgspec.json.encode(value))
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                rejects[row] = Reject("unencodable", str(error))
        if rejects:
            raise Rejected(rejects)
        return records


class AskingJson(PlainJson):
    """JSON that can be decoded only when it was prepared, as with a codec that asks a registry.

    `away` is what preparing raises, if anything.
    """

    prepares = True

    def __init__(self, away: Exception | None = None) -> None:
        self.away = away
        self._known: set[bytes | None] = set()

    async def prepare_to_decode(self, raws: Sequence[bytes | None]) -> None:
        await anyio.lowlevel.checkpoint()
        if self.away is not None:
            raise self.away
        self._known.update(raws)

    async def prepare_to_encode(self, values: Sequence[Any]) -> None:  # noqa: ARG002
        if self.away is not None:
            raise self.away

    def decode(self, raws: Sequence[bytes | None]) -> tuple[list[Any], dict[int, Reject]]:
        if not self._known.issuperset(raws):
            raise Retryable("decoded, but not prepared")
        return super().decode(raws)
