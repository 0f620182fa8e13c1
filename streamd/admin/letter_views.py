"""The dead letters as the page asks for them."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import structlog
from aiohttp import web

from streamd.admin.answers import json_response
from streamd.admin.letters import Browser, NoSuchLetterError, Order, Store, stores
from streamd.admin.watched import Watched
from streamd.api import StreamdError


class LetterViews:
    """Routes that read the stores of dead letters."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._browser = Browser()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/status/dead-letters", self._page),
            web.get("/status/dead-letters/stores", self._stores),
            web.get("/status/dead-letters/letter", self._letter),
        ]

    async def _stores(self, _request: web.Request) -> web.Response:
        return json_response({"stores": list(stores(self._watched.settings()))})

    async def _page(self, request: web.Request) -> web.Response:
        order: Order = "oldest" if request.query.get("order") == "oldest" else "newest"
        after = request.query.get("after", "")
        settings = self._watched.settings()
        return await _answer(self._browser.page(settings, _store(request), order, after))

    async def _letter(self, request: web.Request) -> web.Response:
        before, place = request.query.get("before", ""), request.query.get("place", "")
        settings = self._watched.settings()
        return await _answer(self._browser.letter(settings, _store(request), before, place))


def _store(request: web.Request) -> Store:
    return Store(request.query.get("pipeline", ""), request.query.get("sink", ""))


async def _answer(asked: Awaitable[Any]) -> web.Response:
    try:
        return json_response(await asked)
    except NoSuchLetterError as error:
        return json_response({"error": str(error)}, 404)
    except TimeoutError:
        return json_response({"error": "the store takes too long to be read"}, 504)
    except StreamdError as error:
        return json_response({"error": str(error)}, 502)
    except Exception as error:
        structlog.get_logger().error("Cannot read the dead letters", exc_info=error)
        return json_response({"error": "the store cannot be read, see the daemon's log"}, 500)
