"""What a body is, by its headers, and how it is inflated within a limit. Pure functions."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import cramjam

from streamd_http.refusal import Refused

Form = Literal["json", "ndjson"]

_FORMS: dict[str, Form] = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/x-jsonlines": "ndjson",
}
MEDIA_TYPES = ("application/json", "application/x-ndjson")
ENCODINGS = ("gzip", "zstd")


@lru_cache(maxsize=256)
def form_of(content_type: str) -> Form | None:
    """What a Content-Type stands for; None if that is not taken."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8", "us-ascii"):
            return None
    return _FORMS.get(kind)


def require_form(content_type: str | None) -> Form:
    """Raises Refused (415) for another media type, or for none."""
    form = form_of(content_type or "")
    if form is None:
        raise Refused(
            415,
            f"Content-Type must be one of {', '.join(_FORMS)}, in UTF-8",
            headers={"Accept": ", ".join(MEDIA_TYPES)},
        )
    return form


Inflate = Callable[[bytes, int], bytes]


def inflater(encoding: str | None) -> Inflate | None:
    """What undoes a Content-Encoding; None if there is nothing to undo.

    Raises Refused (415) for an encoding that is not known.
    """
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        return None
    if name in ("gzip", "x-gzip"):
        return gunzip
    if name == "zstd":
        return unzstd
    raise Refused(
        415,
        f"Content-Encoding must be one of {', '.join(ENCODINGS)}",
        headers={"Accept-Encoding": ", ".join(ENCODINGS)},
    )


def gunzip(data: bytes, limit: int) -> bytes:
    """Raises Refused: 413 if more than `limit` bytes come of it, 400 if it is no gzip member."""
    stream = zlib.decompressobj(wbits=31)
    try:
        inflated = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise Refused(400, f"the body is not gzip: {error}") from None
    if len(inflated) > limit:
        raise too_large(limit)
    if not stream.eof or stream.unused_data:
        raise Refused(400, "the body is not one whole gzip member")
    return inflated


def unzstd(data: bytes, limit: int) -> bytes:
    """Raises Refused: 413 if more than `limit` bytes come of it, 400 if it is no zstd frame."""
    inflated = bytearray(limit)
    try:
        length = cramjam.zstd.decompress_into(data, inflated)
    except cramjam.DecompressionError as error:
        # The library has one error for all, and says in words that the buffer was too small.
        if "whole buffer" in str(error):
            raise too_large(limit) from None
        raise Refused(400, f"the body is not zstd: {error}") from None
    return bytes(memoryview(inflated)[:length])


def too_large(limit: int) -> Refused:
    return Refused(413, f"the body may have {limit} bytes")
