"""The page where a token is asked for, and where the daemon goes away."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import CONFIGURATION, Open
from tests.services.streamd import Streamd

TOKEN = "a-token-of-some-length"


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_token_opens_the_page(tmp_path: Path, open_page: Open, scheme: str) -> None:
    guarded = CONFIGURATION.replace(
        "[pipeline.events]", f'admin_token = "{TOKEN}"\n\n[pipeline.events]'
    )
    with Streamd(tmp_path / "d", guarded) as streamd:
        (streamd.folder / "in.jsonl").touch()
        page = open_page(streamd, 390, scheme)
        expect(page).to_have_url(re.compile("/login$"))
        expect(page.get_by_label("Token")).to_be_focused()
        assert Axe().run(page).response["violations"] == []
        log_in(page, TOKEN)
        expect(page.get_by_role("heading", name=re.compile("^events"))).to_be_visible()
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(re.compile("/login$"))
        page.goto(f"http://{streamd.admin}/")
        expect(page).to_have_url(re.compile("/login$"))


def test_the_page_tells_that_the_daemon_is_away_and_is_back(
    tmp_path: Path, open_page: Open
) -> None:
    with Streamd(tmp_path / "d", CONFIGURATION) as streamd:
        (streamd.folder / "in.jsonl").touch()
        page = open_page(streamd)
        status = page.get_by_role("status").first
        expect(status).to_contain_text("Pipeline events: running")
        with page.expect_console_message(lambda said: "ERR_CONNECTION_REFUSED" in said.text):
            streamd.stop()
        expect(status).to_contain_text("The daemon does not answer")
        expect(page.get_by_role("heading", name=re.compile("^events"))).to_be_visible()
        streamd.start()
        expect(status).to_contain_text("Daemon: answers again")
