"""Codecs for events that are no documents: the bytes themselves, and lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamd.api import Reject, Rejected, StageConfig, StageContext
from streamd_json.records import decode_each, reject_record


class RawCodec:
    """The bytes of a record as they are; an event is a bytes object."""

    content_type = "application/octet-stream"
    extension = ".bin"

    class Config(StageConfig, frozen=True):
        pass

    def __init__(self, config: Config, context: StageContext) -> None:
        pass

    def decode(self, raws: Sequence[bytes | None]) -> tuple[list[Any], dict[int, Reject]]:
        rejects = {
            row: reject_record(None, ValueError()) for row, raw in enumerate(raws) if raw is None
        }
        return list(raws), rejects

    def encode(self, values: Sequence[Any]) -> list[bytes]:
        _require(values, bytes)
        return list(values)


class TextCodec:
    """Records of UTF-8 text; an event is a string."""

    content_type = "text/plain"
    extension = ".txt"

    class Config(StageConfig, frozen=True):
        pass

    def __init__(self, config: Config, context: StageContext) -> None:
        pass

    def decode(self, raws: Sequence[bytes | None]) -> tuple[list[Any], dict[int, Reject]]:
        values, errors = decode_each(_to_text, raws)
        return values, {row: _reject_text(raws[row], error) for row, error in errors.items()}

    def encode(self, values: Sequence[Any]) -> list[bytes]:
        _require(values, str)
        try:
            return [value.encode() for value in values]
        except UnicodeEncodeError:
            raise Rejected(
                {row: reject for row, value in enumerate(values) if (reject := _unencodable(value))}
            ) from None


def _to_text(raw: bytes) -> str:
    return str(raw, "utf-8")


def _reject_text(raw: bytes | None, error: Exception) -> Reject:
    if raw is None:
        return reject_record(None, error)
    return Reject("invalid_utf8", str(error), error_type="UnicodeDecodeError")


def _unencodable(value: str) -> Reject | None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return Reject("not_encodable", str(error), error_type="UnicodeEncodeError")
    return None


def _require(values: Sequence[Any], kind: type) -> None:
    rejects = {
        row: Reject(
            "not_encodable",
            f"expected {kind.__name__}, got {type(value).__name__}",
            error_type="TypeError",
        )
        for row, value in enumerate(values)
        if not isinstance(value, kind)
    }
    if rejects:
        raise Rejected(rejects)
