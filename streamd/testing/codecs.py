"""A codec for the tests of sources and sinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from streamd.api import Reject, Rejected


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
