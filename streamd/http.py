"""The admin port: /metrics, /healthz, /readyz and /status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import msgspec
import structlog
from aiohttp import web

from streamd.engine.supervisor import Supervisor
from streamd.telemetry.metrics import Telemetry


async def serve(address: str, telemetry: Telemetry, supervisors: Mapping[str, Supervisor]) -> None:
    """Serve until cancelled. An address that cannot be had is logged: pipelines go on without."""
    host, _, port = address.rpartition(":")
    runner = web.AppRunner(
        application(telemetry, supervisors),
        access_log=None,
        handle_signals=False,
        keepalive_timeout=75,
        shutdown_timeout=1,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]") or "127.0.0.1", int(port)).start()
        structlog.get_logger().info("Admin port", url=f"http://{address}")
        await anyio.sleep_forever()
    except OSError as error:
        structlog.get_logger().error("No admin port", address=address, error=str(error))
        await anyio.sleep_forever()
    finally:
        with anyio.move_on_after(2, shield=True):
            await runner.cleanup()


def application(telemetry: Telemetry, supervisors: Mapping[str, Supervisor]) -> web.Application:
    """The admin application, to be served or tested."""

    def statuses() -> dict[str, Any]:
        return {name: supervisor.status() for name, supervisor in supervisors.items()}

    async def metrics(_request: web.Request) -> web.Response:
        statuses()
        body, media_type = telemetry.exposition()
        return web.Response(body=body, headers={"Content-Type": media_type})

    async def healthz(_request: web.Request) -> web.Response:
        return _json({"status": "alive"})

    async def readyz(_request: web.Request) -> web.Response:
        problems = {name: status.problems for name, status in statuses().items()}
        ready = not any(problems.values())
        return _json({"ready": ready, "problems": problems}, 200 if ready else 503)

    async def status(_request: web.Request) -> web.Response:
        return _json({"pipelines": statuses()})

    app = web.Application()
    app.add_routes(
        [
            web.get("/metrics", metrics),
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/status", status),
        ]
    )
    return app


def _json(value: Any, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, content_type="application/json")
