"""A real browser, and the page of a real daemon in it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.services.streamd import Streamd

_FLAGS = [
    "--no-sandbox",  # it cannot have one as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"

CONFIGURATION = """
[streamd]
state_dir = "{state_dir}"
admin = "{admin}"

[pipeline.events]
epoch_time = "200ms"
[[pipeline.events.source]]
id = "made_up"
plugin = "generator"
rate = 200
[[pipeline.events.source]]
id = "inbox"
plugin = "file"
path = "in.jsonl"
[[pipeline.events.validate]]
plugin = "event"
[[pipeline.events.window]]
id = "minutes"
plugin = "tumbling"
size = "60s"
[[pipeline.events.sink]]
id = "store"
plugin = "file"
path = "out.jsonl"
[[pipeline.events.sink]]
id = "counts"
plugin = "file"
path = "counts.jsonl"
inputs = ["minutes"]
[[pipeline.events.sink]]
id = "dead"
plugin = "file"
inputs = ["dead_letters"]

[pipeline.audit]
drop_streams = []
[pipeline.audit.source]
plugin = "generator"
rate = 5
[[pipeline.audit.sink]]
id = "warehouse"
plugin = "clickhouse"
url = "clickhouse://reader:swordfish@127.0.0.1:1/wotr"
table = "events"
"""

Open = Callable[..., Page]

expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streamd]:
    """Its pipeline `audit` cannot run; one event of the other is hostile."""
    with Streamd(tmp_path_factory.mktemp("page") / "d", CONFIGURATION) as streamd:
        write_hostile(streamd.folder)
        yield streamd


def write_hostile(folder: Path) -> None:
    text = HOSTILE.replace('"', '\\"')
    event = f'{{"id": "hostile-1", "payload": {{"event_type": "{text}", "source": "{text}"}}}}\n'
    (folder / "in.jsonl").write_text(event)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    # No longer than a module: a loop of its own runs as long as it lives, and async tests have
    # theirs.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield browser
        browser.close()


def _complains(said: ConsoleMessage) -> bool:
    """An answer of 401, or none, is what some tests are about."""
    return said.type == "error" and not said.text.startswith("Failed to load resource")


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens the page of a daemon in a fresh profile.

    In the end nothing was asked of anybody else, no script has failed, no policy was offended.
    """
    complaints: list[str] = []
    pages: list[Page] = []

    def open_page(
        streamd: Streamd, width: int = 1280, scheme: str = "light", expected: str = "\0"
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
        )
        context.set_default_timeout(20_000)
        page = context.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: complaints.append(f"failed: {error}"))
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text)
                if _complains(said) and expected not in said.text
                else None
            ),
        )
        page.on(
            "request",
            lambda request: (
                None
                if urlsplit(request.url).netloc == streamd.admin
                else complaints.append(f"asked {request.url}")
            ),
        )
        page.goto(f"http://{streamd.admin}/")
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert complaints == []
