"""The admin port: /metrics, /healthz, /readyz, /status, and the page."""

from __future__ import annotations

from typing import Any

import anyio
import structlog
from aiohttp import web

from streamd.admin.access import Door
from streamd.admin.answers import json_response
from streamd.admin.letter_views import LetterViews
from streamd.admin.sampler import Sampler
from streamd.admin.views import Views
from streamd.admin.watched import Watched
from streamd.page import files
from streamd.settings.admin import Address, parse_address


async def serve(watched: Watched) -> None:
    """Serve until cancelled. An address that cannot be had is logged: pipelines go on without."""
    address = parse_address(watched.settings().daemon.admin or "")
    sampler = Sampler(watched.telemetry, watched.supervisors, watched.clock)
    runner = web.AppRunner(
        application(watched, sampler, address),
        access_log=None,
        handle_signals=False,
        keepalive_timeout=75,
        shutdown_timeout=1,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, address.host, address.port).start()
        structlog.get_logger().info("Admin port", url=f"http://{address}")
        await sampler.run()
    except OSError as error:
        structlog.get_logger().error("No admin port", address=str(address), error=str(error))
        await anyio.sleep_forever()
    finally:
        with anyio.move_on_after(2, shield=True):
            await runner.cleanup()


def application(watched: Watched, sampler: Sampler, address: Address) -> web.Application:
    """The admin application, to be served or tested. Somebody else runs the sampler."""

    def statuses() -> dict[str, Any]:
        return {name: supervisor.status() for name, supervisor in watched.supervisors.items()}

    async def metrics(_request: web.Request) -> web.Response:
        statuses()
        body, media_type = watched.telemetry.exposition()
        return web.Response(body=body, headers={"Content-Type": media_type})

    async def healthz(_request: web.Request) -> web.Response:
        return json_response({"status": "alive"})

    async def readyz(_request: web.Request) -> web.Response:
        problems = {name: status.problems for name, status in statuses().items()}
        ready = not any(problems.values())
        return json_response({"ready": ready, "problems": problems}, 200 if ready else 503)

    async def status(_request: web.Request) -> web.Response:
        return json_response({"pipelines": statuses()})

    page = files()
    door = Door(watched, address, page["login.html"])
    app = web.Application(middlewares=[door.guard], client_max_size=65536)
    app.add_routes(
        [
            web.get("/metrics", metrics),
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/status", status),
            *door.routes(),
            *Views(watched, sampler, page).routes(),
            *LetterViews(watched).routes(),
        ]
    )
    return app
