"""Read the body of a request: whole, in time, and no larger than allowed."""

from __future__ import annotations

import asyncio

import anyio.to_thread
from aiohttp import StreamReader, web

from streamd_http.inbox import Inbox
from streamd_http.media import inflater, too_large
from streamd_http.refusal import Refused

_INFLATE_HERE = 4096
"""Bytes that are inflated on the event loop; more go to a thread."""

_GONE = "the body did not come whole"


async def read_body(request: web.BaseRequest, inbox: Inbox, limit: int, timeout: float) -> bytes:
    """The body, inflated. `timeout` is in seconds.

    Raises Refused (400, 408, 413, 415, 429).
    """
    inflate = inflater(request.headers.get("Content-Encoding"))
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    raw = await _read(request, inbox, limit, timeout)
    if inflate is None:
        return raw
    if len(raw) <= _INFLATE_HERE:
        return inflate(raw, limit)
    try:
        return await anyio.to_thread.run_sync(inflate, raw, limit)
    except Refused as refused:
        # Anyio's frame knows the future that knows the error that knows the frame: a circle around
        # the body, which only a garbage collection would free.
        raise refused.with_traceback(None) from None


async def _read(request: web.BaseRequest, inbox: Inbox, limit: int, timeout: float) -> bytes:
    content = request.content
    if request.transport is None:
        raise Refused(400, _GONE)
    try:
        if content.is_eof():  # it came with the headers, as most do
            return _checked(await content.read(), limit)
        async with asyncio.timeout(timeout):
            return await _gather(content, inbox, limit)
    except TimeoutError:
        raise Refused(408, "the body did not come in time") from None
    except web.RequestPayloadError as error:
        error.__traceback__ = None  # as below
        raise Refused(400, f"the body cannot be read: {error}") from None
    except ConnectionError as error:
        # The stream keeps its error, whose frames know the stream, and what came of the body.
        error.__traceback__ = None
        raise Refused(400, _GONE) from None


def _checked(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise too_large(limit)
    return body


async def _gather(content: StreamReader, inbox: Inbox, limit: int) -> bytes:
    """All chunks of a body. They count against the queue's bytes while they come."""
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := await content.readany():
            chunks.append(chunk)
            size += len(chunk)
            inbox.reading += len(chunk)
            if size > limit:
                raise too_large(limit)
            if inbox.full and not content.is_eof():
                raise Refused(429, "too much is being read", headers={"Retry-After": "1"})
    finally:
        inbox.reading -= size
    return b"".join(chunks)
