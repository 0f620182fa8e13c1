"""What every source does. The other side here is a client that sends again until it is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from streamd.api import Control, Source
from streamd.testing.contracts import SourceContract, SourceSubject
from tests.plugins.streamd_http.helpers import NDJSON, encoded, source_of
from tests.services.server import free_ports


class HttpSubject(SourceSubject):
    def __init__(self, state_dir: Path) -> None:
        (self.port,) = free_ports(1)
        self.state_dir = state_dir
        self.count = 0
        self.clients: list[asyncio.Task[None]] = []

    def make(self, control: Control) -> Source:
        return source_of(self.state_dir, control=control, listen=f"127.0.0.1:{self.port}")

    async def feed(self, count: int) -> list[bytes]:
        raws = [encoded(f"evt_{n}") for n in range(self.count, self.count + count)]
        self.count += count
        self.clients.append(asyncio.create_task(self._send(b"\n".join(raws))))
        return raws

    async def _send(self, body: bytes) -> None:
        url = f"http://127.0.0.1:{self.port}/ingest"
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.post(url, data=body, headers=NDJSON) as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        for client in self.clients:
            client.cancel()
        await asyncio.gather(*self.clients, return_exceptions=True)


class TestContract(SourceContract):
    @pytest.fixture
    async def subject(self, tmp_path: Path) -> AsyncIterator[HttpSubject]:
        subject = HttpSubject(tmp_path)
        yield subject
        await subject.stop()
