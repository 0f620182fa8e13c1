"""What the page asks for, as JSON."""

from __future__ import annotations

import math

from aiohttp import web

from streamd import __version__
from streamd.admin.answers import json_response
from streamd.admin.layout import Picture, lay_out
from streamd.admin.look import Look
from streamd.admin.sampler import EVERY, Sampler
from streamd.admin.watched import Watched
from streamd.api import ConfigError
from streamd.engine.drawing import draw
from streamd.page import File
from streamd.settings.render import render


class Views:
    """The routes of the page. Each answer is made from what the sampler has measured already."""

    def __init__(self, watched: Watched, sampler: Sampler, files: dict[str, File]) -> None:
        self._watched = watched
        self._sampler = sampler
        self._files = files
        self._started = watched.clock.now_ms() / 1000

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self._page),
            web.get("/page/{name}", self._file),
            web.get("/status/live", self._live),
            web.get("/status/history", self._history),
            web.get("/status/graph", self._graph),
            web.get("/status/config", self._config),
        ]

    async def _page(self, request: web.Request) -> web.Response:
        return _sent(self._files["index.html"], request)

    async def _file(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info["name"])
        return web.Response(status=404) if file is None else _sent(file, request)

    async def _live(self, _request: web.Request) -> web.Response:
        look = Look(
            time=self._sampler.time,
            started=self._started,
            every=EVERY,
            version=__version__,
            digest=self._watched.settings().digest,
            pipelines=self._sampler.latest,
            reload=self._watched.last_reload(),
            guarded=bool(self._watched.token()),
        )
        return json_response(look)

    async def _history(self, request: web.Request) -> web.Response:
        try:
            since = float(request.query.get("since", "0"))
        except ValueError:
            since = math.nan
        if not math.isfinite(since):
            return json_response({"error": "since: expected seconds since the epoch"}, 400)
        return json_response(self._sampler.history(since))

    async def _graph(self, _request: web.Request) -> web.Response:
        settings = self._watched.settings()
        pictures: dict[str, Picture] = {}
        for spec in settings.pipelines:
            try:
                pictures[spec.name] = lay_out(draw(spec))
            except ConfigError:  # which the pipeline itself tells as its problem
                continue
        return json_response({"digest": settings.digest, "pipelines": pictures})

    async def _config(self, _request: web.Request) -> web.Response:
        settings = self._watched.settings()
        return json_response(
            {"path": str(settings.path), "digest": settings.digest, "text": render(settings)}
        )


def _sent(file: File, request: web.Request) -> web.Response:
    headers = {"ETag": f'"{file.tag}"', "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    return web.Response(
        body=file.body, content_type=file.content_type, charset="utf-8", headers=headers
    )
