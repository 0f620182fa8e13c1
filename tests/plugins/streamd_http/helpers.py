"""A source on a free port, a stand-in for the engine behind it, and a client in front."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import msgspec

from streamd.api import Codec, Control, Settlement
from streamd.testing import FakeClock, RecordedMetrics, stage_context
from streamd_http import HttpSource
from streamd_json.codec import JsonCodec

JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}

Judge = Callable[[str, int, bytes], Settlement | None]


def event(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "timestamp": "2025-11-19T10:30:00Z",
        "payload": {"event_type": "metric", "source": "test", "data": {"n": 1}},
    }


def encoded(name: str) -> bytes:
    return msgspec.json.encode(event(name))


def source_of(
    state_dir: Path,
    *,
    control: Control | None = None,
    clock: FakeClock | None = None,
    metrics: RecordedMetrics | None = None,
    codec: Codec | None = None,
    **settings: Any,
) -> HttpSource:
    config = msgspec.convert(
        {"listen": "127.0.0.1:0", **settings}, HttpSource.Config, dec_hook=lambda kind, v: kind(v)
    )
    codec = codec or JsonCodec(JsonCodec.Config(), stage_context("codec"))
    context = stage_context(
        "source",
        stage="http",
        control=control,
        clock=clock,
        metrics=metrics,
        codec=codec,
        state_dir=state_dir,
    )
    return HttpSource(config, context)


def stored(_partition: str, _offset: int, _raw: bytes) -> Settlement | None:
    return None


class Engine:
    """Polls and settles. `judge` gives the exception of an event, None where it is stored."""

    def __init__(self, source: HttpSource, judge: Judge = stored) -> None:
        self.source = source
        self.judge = judge
        self.raws: list[bytes] = []
        self.offsets: list[int] = []
        self.timestamps: list[int] = []
        self.sizes: list[int] = []

    async def run(self) -> None:
        while True:
            await self.step()

    async def step(self, max_events: int = 1000, timeout: float = 0.25) -> None:
        for batch in await self.source.poll(max_events, timeout):
            raws = [raw or b"" for raw in batch.raws or ()]
            self.raws += raws
            self.offsets += batch.offsets
            self.timestamps += batch.timestamps
            self.sizes.append(len(batch))
            (span,) = batch.spans
            rows = zip(batch.offsets, raws, strict=True)
            found = [self.judge(span.partition, offset, raw) for offset, raw in rows]
            self.source.settle({span.partition: span.stop}, [s for s in found if s])


class Client:
    """Requests to one source."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def post(
        self, body: Any, headers: dict[str, str] | None = None, path: str = "/ingest"
    ) -> tuple[int, Any]:
        status, answer, _ = await self.ask("POST", path, data=body, headers=headers or JSON)
        return status, msgspec.json.decode(answer)

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, bytes, Any]:
        async with self.session.request(method, self.url + path, **more) as response:
            return response.status, await response.read(), response.headers


@asynccontextmanager
async def client_of(source: HttpSource) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(60), connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        yield Client(session, f"http://{source.address}")


@asynccontextmanager
async def serving(
    state_dir: Path, *, judge: Judge = stored, **settings: Any
) -> AsyncIterator[tuple[Client, Engine]]:
    """A source with an engine that settles at once."""
    async with source_of(state_dir, **settings) as source, client_of(source) as client:
        engine = Engine(source, judge)
        async with anyio.create_task_group() as group:
            group.start_soon(engine.run)
            yield client, engine
            group.cancel_scope.cancel()
