"""`python -m benchmarks.ingest [PYTHON]`: HTTP ingest beside a bare aiohttp handler.

Both sides decode and validate the event; streamd also runs its pipeline, up to a sink that drops.
PYTHON is an interpreter that has FastAPI and uvicorn, where that is to be compared as well.
Figures are per second of the server's CPU, so that the client beside it does not count.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
from aiohttp import web

from benchmarks.events import event
from benchmarks.floor import Event, check_address

ROUNDS, SECONDS, CONNECTIONS = 3, 4.0, 64
PORT = 18500


class Shape(NamedTuple):
    title: str
    events: int
    connections: int


SHAPES = (
    Shape("one event a request", 1, CONNECTIONS),
    Shape("100 events a request", 100, 16),
    Shape("1000 events a request", 1000, 8),
)

_STREAMD = """\
[streamd]
state_dir = "{folder}"
admin = ""
log_level = "error"

[pipeline.bench.source]
plugin = "http"
listen = "127.0.0.1:{port}"
[[pipeline.bench.validate]]
plugin = "event"
[[pipeline.bench.sink]]
id = "nowhere"
plugin = "drop"
"""

_FASTAPI = """\
import sys
from typing import Any, Literal
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field, IPvAnyAddress

class Payload(BaseModel):
    event_type: Literal["user_action", "system_event", "api_call", "error", "metric"]
    source: str = Field(min_length=1, max_length=100)
    user_id: str | None = Field(None, max_length=50)
    session_id: str | None = Field(None, max_length=100)
    ip_address: IPvAnyAddress | None = None
    data: dict[str, Any] | None = None
    tags: list[str] | None = Field(None, max_length=10)
    version: str | None = Field(None, pattern=r"^\\d+\\.\\d+$")

class Event(BaseModel):
    id: str
    timestamp: str
    payload: Payload

app = FastAPI()

@app.post("/ingest")
async def ingest(body: Event | list[Event]) -> dict[str, str]:
    return {"status": "stored"}

uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
"""


def floor(port: int) -> None:
    """The least that a server can do: decode, check, answer."""
    decode = msgspec.json.Decoder(Event | list[Event]).decode

    async def ingest(request: web.Request) -> web.Response:
        found = decode(await request.read())
        for one in found if isinstance(found, list) else [found]:
            check_address(one.payload.ip_address or "0.0.0.0")
        return web.Response(body=b'{"status":"stored"}', content_type="application/json")

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/ingest", ingest)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=lambda *_: None)


class Client(asyncio.Protocol):
    """One connection that sends the next request as the answer to the last arrives."""

    def __init__(self, request: bytes, until: float, done: asyncio.Future[int]) -> None:
        self._request = request
        self._until = until
        self._done = done
        self._answers = 0
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self._done.set_exception(RuntimeError(self._buffer.decode()))
            return
        self._buffer = b""
        self._answers += 1
        if time.perf_counter() < self._until:
            self._transport.write(self._request)
        else:
            self._transport.close()
            self._done.set_result(self._answers)


async def load(port: int, shape: Shape, seconds: float) -> int:
    """Answered requests."""
    events = [event(n) for n in range(shape.events)]
    body = events[0] if shape.events == 1 else b"[" + b",".join(events) + b"]"
    request = (
        b"POST /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    loop = asyncio.get_running_loop()
    until = time.perf_counter() + seconds
    futures = [loop.create_future() for _ in range(shape.connections)]
    for future in futures:
        client = Client(request, until, future)
        await loop.create_connection(partial(_same, client), "127.0.0.1", port)
    return sum(await asyncio.gather(*futures))


def _same(client: Client) -> Client:
    return client


@contextmanager
def server(side: str, port: int, python: str) -> Iterator[int]:
    """A running server's process id."""
    with tempfile.TemporaryDirectory() as folder:
        if side == "streamd":
            config = Path(folder) / "streamd.toml"
            config.write_text(_STREAMD.format(folder=folder, port=port))
            command = [str(Path(sys.executable).parent / "streamd"), "--config", str(config)]
        elif side == "floor":
            command = [sys.executable, "-m", "benchmarks.ingest", "--floor", str(port)]
        else:
            program = Path(folder) / "program.py"
            program.write_text(_FASTAPI)
            command = [python, str(program), str(port)]
        process = subprocess.Popen(command)
        try:
            asyncio.run(_until_it_listens(port))
            yield process.pid
        finally:
            process.terminate()
            process.wait()


async def _until_it_listens(port: int) -> None:
    deadline = time.perf_counter() + 20
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.perf_counter() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(python: str = "") -> None:
    sides = ["floor", "streamd", *(["FastAPI"] if python else [])]
    rates: dict[tuple[str, Shape], list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        for at, side in enumerate(sides):
            with server(side, PORT + at, python) as pid:
                asyncio.run(load(PORT + at, SHAPES[0], 0.5))
                for shape in SHAPES:
                    cpu, wall = cpu_of(pid), time.perf_counter()
                    answered = asyncio.run(load(PORT + at, shape, SECONDS)) * shape.events
                    seconds = (cpu_of(pid) - cpu, time.perf_counter() - wall)
                    found = (answered / seconds[0], answered / seconds[1])
                    rates.setdefault((side, shape), []).append(found)
    print(f"HTTP ingest, events of {len(event(1))} bytes, {ROUNDS} rounds, medians")
    for shape in SHAPES:
        print(f"\n{shape.title}, {shape.connections} connections: events per second")
        base = 0.0
        for side in sides:
            cpu, wall = (statistics.median(one) for one in zip(*rates[side, shape], strict=True))
            base = base or cpu
            print(f"  {side:8} of CPU {cpu:>9,.0f} (ratio {cpu / base:.2f})   wall {wall:>9,.0f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--floor"]:
        floor(int(sys.argv[2]))
    else:
        main(*sys.argv[1:2])
