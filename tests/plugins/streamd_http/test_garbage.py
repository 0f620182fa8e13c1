"""A client that breaks off, or sends what cannot be read, leaves nothing that waits for the garbage
collector. That looks for many objects, and would let few hold many bodies."""

import socket
from pathlib import Path

import pytest
from anyio import to_thread, wait_all_tasks_blocked

from streamd_http.config import Address
from tests.garbage import uncollected
from tests.plugins.streamd_http.helpers import source_of

FEW, MANY = 2, 22  # connections

OF_ASYNCIO = 10
"""Objects. Its transports are circles, but small ones that know nothing of what was sent."""

HEAD = b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
LONG = HEAD + b"Content-Length: 5000\r\n"


def converse(address: Address, sent: bytes) -> None:
    with socket.create_connection((address.host, address.port), timeout=30) as client:
        client.sendall(sent)
        if len(sent) < len(LONG) + 5000:
            client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass


@pytest.mark.parametrize(
    "sent",
    [
        LONG + b"\r\n[",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1234\r\nno number\r\n",
        LONG + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + b"x" * 5000,
        b"no request\r\n\r\n",
    ],
    ids=["breaks off", "torn", "no gzip, found in a thread", "no http"],
)
async def test_nothing_is_left_to_collect(tmp_path: Path, sent: bytes) -> None:
    async with source_of(tmp_path) as source:

        async def left_by(connections: int) -> int:
            with uncollected() as count:
                for _ in range(connections):
                    await to_thread.run_sync(converse, source.address, sent)
                await wait_all_tasks_blocked()
                return count()

        await left_by(FEW)  # which fills the caches
        few = await left_by(FEW)
        assert (await left_by(MANY) - few) / (MANY - FEW) < OF_ASYNCIO
