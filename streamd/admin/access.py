"""Who may see what the admin port shows, and what a browser may do with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from streamd.admin.sessions import LASTS, grant, is_good, same
from streamd.admin.watched import Watched
from streamd.page import File
from streamd.settings.admin import Address, is_loopback

_OPEN = frozenset({"/healthz", "/login", "/page/page.css", "/page/icon.svg"})
_FOR_ANY_NAME = frozenset({"/healthz", "/readyz", "/metrics"})
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # With no-referrer a browser would send our own forms as if from nowhere (Origin: null).
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """Lets in who bears the token or has logged in with it; where there is none, whoever asks
    for this machine by one of its own names."""

    def __init__(self, watched: Watched, address: Address, form: File) -> None:
        self._watched = watched
        self._address = address
        self._form = form.body.decode()
        # Cookies do not tell ports apart: another daemon on this machine has another name.
        self._cookie = f"streamd_{address.port}"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/login", self._ask),
            web.post("/login", self._login),
            web.post("/logout", self._logout),
        ]

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = self._refusal(request) or await handler(request)
        except web.HTTPException as error:
            error.headers.update(_HEADERS)
            raise
        response.headers.update(_HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        if request.method == "POST" and not _from_here(request):
            return web.json_response({"error": "not from another site"}, status=403)
        if not self._watched.token():
            # A name that somebody else's DNS has pointed here would let his site read along.
            if request.path in _FOR_ANY_NAME or self._is_ours(request):
                return None
            text = "this host name is not the admin port's: set admin_token to allow any"
            return web.json_response({"error": text}, status=421)
        if request.path in _OPEN or self._knows_the_token(request):
            return None
        if "text/html" in request.headers.get("Accept", ""):
            return web.Response(status=303, headers={"Location": "/login"})
        return web.json_response(
            {"error": "a token is needed"},
            status=401,
            headers={"WWW-Authenticate": 'Bearer realm="streamd"'},
        )

    def _knows_the_token(self, request: web.Request) -> bool:
        token = self._watched.token()
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same(given.strip(), token):
            return True
        return is_good(request.cookies.get(self._cookie, ""), token, self._now())

    def _is_ours(self, request: web.Request) -> bool:
        host = urlsplit(f"//{request.host}").hostname or ""
        return is_loopback(host) or host == self._address.host.lower()

    def _now(self) -> float:
        return self._watched.clock.now_ms() / 1000

    async def _ask(self, _request: web.Request) -> web.Response:
        return self._show_form("")

    async def _login(self, request: web.Request) -> web.Response:
        token = self._watched.token()
        given = (await request.post()).get("token", "")
        if not (token and isinstance(given, str) and same(given.strip(), token)):
            return self._show_form("That is not the token.", status=403)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            self._cookie,
            grant(token, self._now()),
            max_age=LASTS,
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
        return response

    async def _logout(self, _request: web.Request) -> web.Response:
        response = web.Response(status=303, headers={"Location": "/login"})
        response.del_cookie(self._cookie)
        return response

    def _show_form(self, problem: str, status: int = 200) -> web.Response:
        text = self._form.replace("{{problem}}", problem)
        return web.Response(text=text, status=status, content_type="text/html")


def _from_here(request: web.Request) -> bool:
    """Whether a form comes from our own page, or from something that is no browser."""
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host
