"""A schema registry on loopback that answers as Confluent's API reference says.

It runs in a thread of its own, so that it answers whatever holds up the loop of the test.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from streamd_avro.compatibility import problems_of_reading
from streamd_avro.parsing import parse, parse_text

MEDIA = "application/vnd.schemaregistry.v1+json"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Fault(Exception):  # noqa: N818
    """An error answer: the HTTP status is the first three digits of the code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class RegistryServer:
    """Schemas by id and by subject; subjects are checked at BACKWARD.

    `auth` are the user and password that it asks for. Any of these makes it answer otherwise:
    paths that are `slow` (no answer before they are taken out), `failures` (so many times 503), a
    `status`, a `body`.
    """

    def __init__(self, auth: tuple[str, str] | None = None) -> None:
        self.auth = auth
        self.slow: set[str] = set()
        self.failures = 0
        self.status: int | None = None
        self.body: bytes | None = None
        self.requests: list[str] = []
        self.url = ""
        self._schemas: list[dict[str, Any]] = []
        self._subjects: dict[str, list[int]] = {}

    def add(self, subject: str, schema: Any, **more: Any) -> int:
        """Register without a check, as if somebody had; the id."""
        entry = {"schema": json.dumps(schema), **more}
        if entry not in self._schemas:
            self._schemas.append(entry)
        number = self._schemas.index(entry) + 1
        versions = self._subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return number

    def versions(self, subject: str) -> list[int]:
        return list(range(1, len(self._subjects.get(subject, [])) + 1))

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._answer])
        app.add_routes(
            [
                web.get("/schemas/types", self._types),
                web.get("/schemas/ids/{id}", self._by_id),
                web.get("/subjects/{subject}/versions/{version}", self._by_version),
                web.post("/subjects/{subject}/versions", self._register),
                web.post("/compatibility/subjects/{subject}/versions/latest", self._compatible),
            ]
        )
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.raw_path}")
        while request.raw_path in self.slow:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if self.failures > 0:
            self.failures -= 1
            return web.Response(status=503)
        if self.body is not None:
            return web.Response(body=self.body, status=self.status or 200)
        if self.status is not None:
            error = {"error_code": self.status, "message": "as told"}
            headers = {"Retry-After": "7"} if self.status == 429 else {"Location": "/elsewhere"}
            return web.json_response(error, status=self.status, headers=headers)
        token = base64.b64encode(":".join(self.auth or ()).encode()).decode()
        if self.auth and request.headers.get("Authorization") != f"Basic {token}":
            return web.json_response({"error_code": 401, "message": "Unauthorized"}, status=401)
        try:
            return await handler(request)
        except Fault as fault:
            status = int(str(fault.code)[:3])
            answer = {"error_code": fault.code, "message": str(fault)}
            return web.json_response(answer, status=status, content_type=MEDIA)

    async def _types(self, _request: web.Request) -> web.Response:
        return web.json_response(["JSON", "PROTOBUF", "AVRO"], content_type=MEDIA)

    async def _by_id(self, request: web.Request) -> web.Response:
        number = int(request.match_info["id"])
        if not 1 <= number <= len(self._schemas):
            raise Fault(40403, f"Schema {number} not found")
        return web.json_response(self._schemas[number - 1], content_type=MEDIA)

    async def _by_version(self, request: web.Request) -> web.Response:
        subject, version = request.match_info["subject"], request.match_info["version"]
        numbers = self._subjects.get(subject)
        if not numbers:
            raise Fault(40401, f"Subject '{subject}' not found.")
        at = len(numbers) if version == "latest" else int(version)
        if not 1 <= at <= len(numbers):
            raise Fault(40402, f"Version {version} not found.")
        number = numbers[at - 1]
        answer = {"subject": subject, "version": at, "id": number, **self._schemas[number - 1]}
        return web.json_response(answer, content_type=MEDIA)

    async def _register(self, request: web.Request) -> web.Response:
        schema, fits = await self._judge(request)
        if not fits:
            raise Fault(409, "Schema being registered is incompatible with an earlier schema")
        number = self.add(request.match_info["subject"], schema)
        return web.json_response({"id": number}, content_type=MEDIA)

    async def _compatible(self, request: web.Request) -> web.Response:
        if not self._subjects.get(request.match_info["subject"]):
            raise Fault(40401, f"Subject '{request.match_info['subject']}' not found.")
        _, fits = await self._judge(request)
        return web.json_response({"is_compatible": fits}, content_type=MEDIA)

    async def _judge(self, request: web.Request) -> tuple[Any, bool]:
        """The schema of a request, and whether it may follow the latest of its subject."""
        try:
            schema = json.loads((await request.json())["schema"])
            new = parse(schema)
        except (KeyError, ValueError) as error:
            raise Fault(42201, f"Invalid schema: {error}") from None
        latest = self._subjects.get(request.match_info["subject"], [])[-1:]
        old = [self._schemas[number - 1]["schema"] for number in latest]
        return schema, not any(problems_of_reading(new, parse_text(one)) for one in old)


@contextmanager
def serving(server: RegistryServer, port: int = 0) -> Iterator[RegistryServer]:
    """The server on this or a free port, until the block ends."""
    loop = asyncio.new_event_loop()
    started, ended = threading.Event(), asyncio.Event()
    runner = web.AppRunner(server.application(), shutdown_timeout=0.1)

    async def serve() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        host, bound = runner.addresses[0][:2]
        server.url = f"http://{host}:{bound}"
        started.set()
        await ended.wait()
        await runner.cleanup()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(30)
