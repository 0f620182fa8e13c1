"""Clients that are slow, endless, many or mad: cut off, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from streamd_http import HttpSource, server
from tests.plugins.streamd_http.helpers import encoded, serving, source_of

HEAD = b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_SWEEP_EVERY", 0.02)
    monkeypatch.setattr(server, "_LINGER", 0.05)


@asynccontextmanager
async def connection(
    source: HttpSource,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*source.address)
    try:
        yield reader, writer
    finally:
        writer.close()


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """All that still comes until the connection is closed."""
    with anyio.fail_after(30):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize("sent", [b"", b"POST /ing", HEAD], ids=["nothing", "line", "headers"])
async def test_headers_that_do_not_come(tmp_path: Path, sent: bytes) -> None:
    async with (
        source_of(tmp_path, read_timeout="100ms") as source,
        connection(source) as (reader, writer),
    ):
        writer.write(sent)
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 408 ")


async def test_headers_that_drip(tmp_path: Path) -> None:
    async with (
        source_of(tmp_path, read_timeout="200ms") as source,
        connection(source) as (reader, writer),
    ):
        writer.write(HEAD)
        answer = asyncio.create_task(rest_of(reader))
        while not answer.done():
            writer.write(b"A: b\r\n")
            await asyncio.sleep(0.02)
        assert (await answer).startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_does_not_come(tmp_path: Path) -> None:
    async with (
        source_of(tmp_path, read_timeout="100ms") as source,
        connection(source) as (reader, writer),
    ):
        writer.write(HEAD + b"Content-Length: 100\r\n\r\n{")
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 408 ")
        assert source._inbox.reading == 0


async def test_a_second_request_has_the_same_limits(tmp_path: Path) -> None:
    body = encoded("a")
    async with (
        serving(tmp_path, read_timeout="300ms") as (_, engine),
        connection(engine.source) as (reader, writer),
    ):
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.write(b"POST")
        assert b"HTTP/1.1 408 " in await rest_of(reader)


async def test_an_idle_connection_stays_for_the_keepalive_only(tmp_path: Path) -> None:
    body = encoded("a")
    async with (
        serving(tmp_path, read_timeout="50ms", keepalive_timeout="1500ms") as (_, engine),
        connection(engine.source) as (reader, writer),
    ):
        for _ in range(3):
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert (await reader.readuntil(b'"id":"a"}')).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.15)  # idle for longer than a header may take
        assert await rest_of(reader) == b""


async def test_a_client_that_does_not_read(tmp_path: Path) -> None:
    """The answers pile up: no more is read from it, and then it is cut off."""
    async with (
        source_of(tmp_path, read_timeout="200ms") as source,
        connection(source) as (reader, writer),
    ):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        while not source._server.connections:
            await anyio.lowlevel.checkpoint()
        with anyio.fail_after(30):
            while source._server.connections:
                writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
                await asyncio.sleep(0.01)


async def test_one_connection_too_many(tmp_path: Path) -> None:
    async with (
        source_of(tmp_path, max_connections=2) as source,
        connection(source),
        connection(source) as (_, second),
    ):
        while len(source._server.connections) < 2:
            await anyio.lowlevel.checkpoint()
        async with connection(source) as (reader, _):
            assert b"503 Service Unavailable" in await rest_of(reader)
        second.close()
        while len(source._server.connections) > 1:
            await anyio.lowlevel.checkpoint()
        async with connection(source) as (reader, writer):
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in await reader.readline()


async def test_headers_have_limits(tmp_path: Path) -> None:
    async with source_of(tmp_path, max_header="1KiB") as source:
        for request in (
            HEAD + b"A: " + b"b" * 2000 + b"\r\n\r\n",
            b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            HEAD + b"".join(b"H%d: x\r\n" % n for n in range(100)) + b"\r\n",
        ):
            async with connection(source) as (reader, writer):
                writer.write(request)
                assert (await rest_of(reader)).split(b" ")[1] == b"400"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        HEAD + b"A\x00B: c\r\n\r\n",
    ],
    ids=repr,
)
async def test_what_is_no_http_is_refused(tmp_path: Path, garbage: bytes) -> None:
    async with serving(tmp_path, read_timeout="1s") as (client, engine):
        async with connection(engine.source) as (reader, writer):
            writer.write(garbage)
            assert (await rest_of(reader)).split(b" ")[1] == b"400"
        assert (await client.post(encoded("a")))[0] == 200
    assert engine.raws == [encoded("a")]


async def test_bodies_that_are_being_read_count(tmp_path: Path) -> None:
    """Many that send half a body cannot take more memory than the queue may have."""
    async with source_of(tmp_path, max_queue_bytes="100KB", max_body="90KB") as source:
        async with connection(source) as (_, first):
            first.write(HEAD + b"Content-Length: 90000\r\n\r\n" + b"x" * 80_000)
            while source._inbox.reading < 80_000:
                await anyio.lowlevel.checkpoint()
            async with connection(source) as (reader, second):
                second.write(HEAD + b"Content-Length: 90000\r\n\r\n" + b"x" * 80_000)
                assert (await rest_of(reader)).startswith(b"HTTP/1.1 429 ")
        while source._inbox.reading:
            await anyio.lowlevel.checkpoint()


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as (_, engine),
        connection(engine.source) as (reader, writer),
    ):
        for name in "abc":
            body = encoded(name)
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        for name in "abc":
            assert (await reader.readuntil(f'"id":"{name}"}}'.encode())).startswith(
                b"HTTP/1.1 200 "
            )
        assert engine.raws == [encoded(name) for name in "abc"]
