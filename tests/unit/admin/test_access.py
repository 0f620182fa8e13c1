"""Who may ask the admin port what, and what its answers let a browser do."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from streamd.admin.sampler import Sampler
from streamd.admin.sessions import LASTS, grant, is_good
from streamd.admin.watched import Watched
from streamd.api import Secret
from streamd.http import application
from streamd.settings.admin import Address
from streamd.settings.model import DaemonOptions, Settings
from streamd.telemetry.metrics import Telemetry
from streamd.testing import FakeClock

TOKEN = "a-token-of-some-length"
PATHS = ("/", "/status", "/metrics", "/readyz", "/status/live", "/status/history", "/status/graph",
         "/status/config", "/page/main.js")  # fmt: skip
AS_BROWSER = {"Accept": "text/html"}

Client = TestClient[web.Request, web.Application]
Serve = Callable[[str], Awaitable[Client]]


class Port:
    """An admin port whose token a test may change, as a reload does."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.clock = FakeClock()

    def settings(self) -> Settings:
        daemon = DaemonOptions(admin_token=Secret(self.token) if self.token else None)
        return Settings(
            path=Path("streamd.toml"),
            digest="1",
            daemon=daemon,
            pipelines=(),
            catalog=None,
        )

    def application(self) -> web.Application:
        watched = Watched(Telemetry(), {}, self.settings, clock=self.clock)
        sampler = Sampler(watched.telemetry, watched.supervisors, self.clock)
        return application(watched, sampler, Address("127.0.0.1", 8001))


@pytest.fixture
async def port() -> Port:
    return Port(TOKEN)


@pytest.fixture
async def client(port: Port) -> AsyncIterator[Client]:
    async with TestClient(TestServer(port.application())) as client:
        yield client


async def get(client: Client, path: str, **headers: str) -> ClientResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.get(path, headers=named, allow_redirects=False)


@pytest.mark.parametrize("path", PATHS)
async def test_without_the_token_nothing_is_told(client: Client, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"},
                    {"Cookie": f"streamd_8001={TOKEN}"}):  # fmt: skip
        response = await get(client, path, **headers)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert await response.json() == {"error": "a token is needed"}


@pytest.mark.parametrize("path", PATHS)
async def test_who_bears_the_token_is_answered(client: Client, path: str) -> None:
    assert (await get(client, path, Authorization=f"Bearer {TOKEN}")).status == 200
    assert (await get(client, path, Authorization=f"bearer  {TOKEN} ")).status == 200


async def test_health_is_for_all(client: Client) -> None:
    assert (await get(client, "/healthz")).status == 200


async def test_a_browser_is_asked_to_log_in(client: Client) -> None:
    response = await get(client, "/", **AS_BROWSER)
    assert (response.status, response.headers["Location"]) == (303, "/login")
    form = await get(client, "/login", **AS_BROWSER)
    assert form.status == 200
    assert 'type="password"' in await form.text()


async def log_in(client: Client, token: str, **headers: str) -> ClientResponse:
    return await client.post(
        "/login", data={"token": token}, headers=headers, allow_redirects=False
    )


async def test_a_login_opens_the_page_until_it_is_over(client: Client, port: Port) -> None:
    refused = await log_in(client, "not-the-token-at-all")
    assert refused.status == 403
    assert "not the token" in await refused.text()
    assert "Set-Cookie" not in refused.headers
    taken = await log_in(client, TOKEN)
    assert (taken.status, taken.headers["Location"]) == (303, "/")
    cookie = taken.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    assert (await get(client, "/status/config")).status == 200
    port.clock.advance(LASTS)
    assert (await get(client, "/status/config")).status == 401


async def test_a_logout_ends_it(client: Client) -> None:
    await log_in(client, TOKEN)
    await client.post("/logout", allow_redirects=False)
    assert (await get(client, "/")).status == 401


async def test_another_token_ends_every_session(client: Client, port: Port) -> None:
    await log_in(client, TOKEN)
    port.token = "another-token-as-long"
    assert (await get(client, "/")).status == 401
    assert (await get(client, "/", Authorization=f"Bearer {port.token}")).status == 200


async def test_another_site_cannot_post(client: Client) -> None:
    assert (await log_in(client, TOKEN, Origin="http://evil.example")).status == 403
    assert (await log_in(client, TOKEN, Origin="null")).status == 403
    own = f"http://127.0.0.1:{client.port}"
    assert (await log_in(client, TOKEN, Origin=own)).status == 303


@pytest.mark.parametrize(
    "session", ["", ".", "1.2", "9999999999.", "9999999999.0", f"{'9' * 5000}.x", "ü.ü"]
)
def test_a_made_up_session_is_none(session: str) -> None:
    assert not is_good(session, TOKEN, 0)


def test_a_session_cannot_be_made_longer() -> None:
    session = grant(TOKEN, 1000)
    until, _, seal = session.partition(".")
    assert is_good(session, TOKEN, 1000 + LASTS - 1)
    assert not is_good(session, TOKEN, 1000 + LASTS)
    assert not is_good(f"{int(until) + 1}.{seal}", TOKEN, 1000)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9", "[::1]:8001", "LOCALHOST"])
async def test_without_a_token_this_machine_asks_by_its_own_names(
    client: Client, port: Port, host: str
) -> None:
    port.token = ""
    assert (await get(client, "/status/config", Host=host)).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8001", "127.0.0.1.evil.example"])
async def test_another_name_for_this_machine_is_refused(
    client: Client, port: Port, host: str
) -> None:
    """A page of evil.example, whose name now leads here, could read what its browser is told."""
    port.token = ""
    for path in ("/", "/status", "/status/config", "/status/live"):
        assert (await get(client, path, Host=host)).status == 421
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await get(client, path, Host=host)).status == 200
    port.token = TOKEN
    bearing = {"Authorization": f"Bearer {TOKEN}"}
    assert (await get(client, "/status/config", Host=host, **bearing)).status == 200


async def test_without_a_token_nobody_can_log_in(client: Client, port: Port) -> None:
    port.token = ""
    assert (await log_in(client, "")).status == 403


@pytest.mark.parametrize("path", ["/", "/login", "/status/live", "/page/page.css", "/nowhere"])
async def test_every_answer_forbids_what_the_page_does_not_need(
    client: Client, port: Port, path: str
) -> None:
    port.token = ""
    headers: Any = (await get(client, path)).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    if path.startswith("/status"):
        assert headers["Cache-Control"] == "no-store"


async def test_a_file_is_sent_again_only_when_it_has_changed(client: Client, port: Port) -> None:
    port.token = ""
    first = await get(client, "/page/main.js")
    assert first.content_type == "text/javascript"
    again = await get(client, "/page/main.js", If_None_Match=first.headers["ETag"])
    assert (again.status, await again.text()) == (304, "")
    assert (await get(client, "/page/__init__.py")).status == 404
    assert (await get(client, "/page/..%2f__init__.py")).status == 404


@pytest.mark.parametrize("since", ["soon", "nan", "inf", ""])
async def test_a_time_that_is_none_is_refused(client: Client, port: Port, since: str) -> None:
    port.token = ""
    assert (await get(client, f"/status/history?since={since}")).status == 400
