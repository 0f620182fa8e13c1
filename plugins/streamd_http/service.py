"""The HTTP interface: routes, keys, and the answer to each request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from msgspec import Struct

from streamd.api import (
    Codec,
    Counter,
    Metrics,
    Misconfigured,
    Prepares,
    Retryable,
    StageContext,
    Violation,
    preparing,
)
from streamd_events import validate_payload
from streamd_http.answers import Problem, Status, answer, encode
from streamd_http.body import read_body
from streamd_http.config import HttpConfig
from streamd_http.documentation import openapi, page
from streamd_http.events import complete, split
from streamd_http.inbox import Delivery, Inbox
from streamd_http.keys import ANYBODY, ApiKeys
from streamd_http.media import require_form
from streamd_http.refusal import Refused

_HEADERS = {"Content-Type": "application/json", "Server": "streamd"}
_PAGE_HEADERS = {
    **_HEADERS,
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}
_REQUESTS = "Requests by route, key and status."

Handle = Callable[[web.BaseRequest], Awaitable[web.Response]]


class ValidateAnswer(Struct):
    """What POST /validate says."""

    valid: bool
    errors: list[Violation]
    warnings: list[str]


class Service:
    """Answers requests. `away` tells why no event can be taken now, if so."""

    def __init__(
        self,
        config: HttpConfig,
        context: StageContext,
        inbox: Inbox,
        keys: ApiKeys,
        away: Callable[[], str | None],
    ) -> None:
        assert context.codec is not None
        self._config = config
        self._codec: Codec = context.codec
        self._clock = context.clock
        self._metrics: Metrics = context.metrics
        self._inbox = inbox
        self._keys = keys
        self._away = away
        self._usual: Status = "stored" if config.ack == "stored" else "accepted"
        self._timeout = float(config.answer_timeout)
        self._counters: dict[tuple[str, str, int], Counter] = {}
        document = openapi(config, keys.required)
        self._openapi, self._page = encode(document), page(document).encode()
        self._routes: Mapping[str, Mapping[str, Handle]] = {
            "/ingest": {"POST": self._ingest},
            "/validate": {"POST": self._validate},
            "/metrics": _reading(self._show_metrics),
            "/openapi.json": _reading(self._show_openapi),
            "/health": _reading(self._show_health),
            "/docs": _reading(self._show_page),
            "/": _reading(self._show_page),
        }

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Any request."""
        path = request.path
        route = self._routes.get(path)
        key: str | None = ANYBODY
        try:
            if route is None:
                raise Refused(404, f"there is nothing here; see {', '.join(self._routes)}")
            handle = route.get(request.method)
            if handle is None:
                methods = ", ".join(route)
                raise Refused(405, f"use {methods}", headers={"Allow": methods})
            if "POST" in route:
                key = self._keys.name(request.headers.get("X-API-Key"))
            if key is None:
                raise Refused(401, "the header X-API-Key has no key that is known")
            response = await handle(request)
        except Refused as refused:
            response = _refusal(refused)
            # A body that is not read to its end, and a client that had better go elsewhere.
            if refused.status == 503 or not request.content.is_eof():
                response.force_close()
        self._count(path if route else "", key or "", response.status)
        return response

    def failure(self, status: int, message: str | None) -> web.Response:
        """What is said where no handler was reached, or where it failed."""
        self._count("", ANYBODY, status)
        text = "an error on this side" if status >= 500 else message or "bad request"
        return _response(status, encode(Problem(text)))

    def _count(self, route: str, key: str, status: int) -> None:
        counter = self._counters.get((route, key, status))
        if counter is None:
            counter = self._counters[route, key, status] = self._metrics.counter(
                "http_requests", _REQUESTS, route=route, key=key, code=str(status)
            )
        counter.inc()

    # --- events --------------------------------------------------------------------------

    async def _ingest(self, request: web.BaseRequest) -> web.Response:
        self._refuse_if_away_or_full()
        form = require_form(request.headers.get("Content-Type"))
        raws, single = split(await self._body(request), form)
        if len(raws) > self._config.max_request_events:
            raise Refused(413, f"a request may have {self._config.max_request_events} events")
        now_ms = self._clock.now_ms()
        whole, ids = complete(raws, now_ms)
        delivery = self._offer(whole, ids, now_ms)
        exceptions = await delivery.answer
        if exceptions is None:
            reason = self._away() or f"undecided after {self._timeout:g} s"
            raise Refused(503, f"{reason}; send it again", headers={"Retry-After": "1"})
        return _response(*answer(ids, exceptions, single=single, usual=self._usual))

    def _offer(self, raws: list[bytes], ids: list[str | None], now_ms: int) -> Delivery:
        self._refuse_if_away_or_full()  # reading the body may have taken long
        loop = asyncio.get_running_loop()
        delivery = Delivery(
            raws,
            ids,
            arrived=now_ms,
            deadline=loop.time() + self._timeout,
            answer=loop.create_future(),
        )
        if not self._inbox.offer(delivery):
            raise _full()
        return delivery

    def _refuse_if_away_or_full(self) -> None:
        if reason := self._away():
            raise Refused(503, reason, headers={"Retry-After": "5"})
        if self._inbox.full:
            raise _full()

    async def _validate(self, request: web.BaseRequest) -> web.Response:
        form = require_form(request.headers.get("Content-Type"))
        if form != "json":
            raise Refused(415, "one payload, as application/json")
        body = await self._body(request)
        if (asking := preparing(self._codec)) is not None:
            await _prepare(asking, body)
        (payload,), rejects = self._codec.decode([body])
        if rejects:
            verdict = ValidateAnswer(False, [Violation("$", rejects[0].message)], [])
        else:
            errors, warnings = validate_payload(payload, ipv6=self._config.ipv6)
            verdict = ValidateAnswer(not errors, errors, warnings)
        return _response(200, encode(verdict))

    async def _body(self, request: web.BaseRequest) -> bytes:
        config = self._config
        return await read_body(
            request, self._inbox, int(config.max_body), float(config.read_timeout)
        )

    # --- what can be looked at -----------------------------------------------------------

    def _show_health(self) -> web.Response:
        reason = self._away()
        status = {"status": "ok"} if reason is None else {"status": "away", "reason": reason}
        return _response(200 if reason is None else 503, encode(status))

    def _show_metrics(self) -> web.Response:
        body, content_type = self._metrics.exposition()
        return web.Response(body=body, headers={**_HEADERS, "Content-Type": content_type})

    def _show_openapi(self) -> web.Response:
        return _response(200, self._openapi)

    def _show_page(self) -> web.Response:
        return web.Response(body=self._page, headers=_PAGE_HEADERS)


async def _prepare(asking: Prepares, body: bytes) -> None:
    try:
        await asking.prepare_to_decode([body])
    except (Retryable, Misconfigured) as error:
        raise Refused(503, str(error), headers={"Retry-After": "5"}) from error


def _reading(show: Callable[[], web.Response]) -> dict[str, Handle]:
    async def handle(_request: web.BaseRequest) -> web.Response:
        return show()

    return {"GET": handle, "HEAD": handle}


def _full() -> Refused:
    return Refused(429, "too many events wait already", headers={"Retry-After": "1"})


def _refusal(refused: Refused) -> web.Response:
    return _response(refused.status, encode(Problem(refused.message)), refused.headers)


def _response(status: int, body: bytes, headers: Mapping[str, Any] | None = None) -> web.Response:
    return web.Response(status=status, body=body, headers={**_HEADERS, **(headers or {})})
