"""The page in a real browser."""

import json
import re
import signal
import time
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import CONFIGURATION, HOSTILE, Open
from tests.services.streamd import Streamd


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def showing(page: Page) -> Page:
    """The page once it has shown the pipelines."""
    expect(page.get_by_role("heading", name=re.compile("^events running"))).to_be_visible()
    return page


def test_a_pipeline_is_drawn_and_its_numbers_move(daemon: Streamd, open_page: Open) -> None:
    page = showing(open_page(daemon))
    graph = page.get_by_role("region", name="Graph of events")
    expect(
        graph.get_by_role("link", name=re.compile(r"^made_up, source generator: "))
    ).to_be_visible()
    expect(graph.get_by_role("img", name="stream dead_letters")).to_be_visible()
    assert graph.locator("path.line").count() >= 9
    written = (
        page.get_by_role("row", name=re.compile("^store sink file")).get_by_role("cell").nth(2)
    )
    before = written.inner_text()
    expect(written).not_to_have_text(before)
    windows = page.get_by_role("table", name="Windows of events").get_by_role("row")
    expect(windows.nth(1)).to_contain_text("minutes")


def test_each_plot_is_told_and_has_its_numbers(daemon: Streamd, open_page: Open) -> None:
    page = showing(open_page(daemon))
    for title in ("Events", "Behind", "Latency", "Errors"):
        plot = page.locator("#pipeline-events figure", has_text=title).first
        expect(
            plot.get_by_role("img", name=re.compile(f"^{title} of events since "))
        ).to_be_visible()
        plot.get_by_text("As a table").click()
        table = plot.get_by_role("table", name=f"{title} of events")
        expect(table.get_by_role("row").nth(1).get_by_role("cell").first).to_have_text(
            re.compile(r"\d|–")
        )
    expect(
        page.get_by_role("img", name=re.compile(r"^Events of events since .*: read \d.*at most \d"))
    ).to_be_visible()


def test_what_is_wrong_is_told_where_it_is(daemon: Streamd, open_page: Open) -> None:
    page = open_page(daemon)
    section = page.locator("#pipeline-audit")
    expect(section.locator(".state")).to_have_class("state bad")
    expect(section.locator(".problems")).to_contain_text("127.0.0.1:1")
    expect(page.get_by_role("status").first).to_contain_text("Pipeline audit: ")


def test_no_secret_is_in_the_configuration_that_is_shown(daemon: Streamd, open_page: Open) -> None:
    page = showing(open_page(daemon))
    page.get_by_text("Show it, secrets masked").click()
    shown = page.get_by_role("region", name="Effective configuration")
    expect(shown).to_contain_text('url = "***"')
    assert "swordfish" not in page.content()


def test_a_hostile_dead_letter_is_text(daemon: Streamd, open_page: Open) -> None:
    wait_for(lambda: daemon.status()["events"]["dead_lettered"] == 1)
    wait_for(lambda: bool(list(daemon.folder.glob("var/dead_letters/*/*/*/*.json"))))
    page = showing(open_page(daemon))
    page.get_by_label("Show", exact=True).select_option("from the oldest on")
    page.get_by_role("button", name="Look").click()
    expect(page.locator("#letters-news")).to_have_text("1 letter, and no more.")
    page.get_by_role("button", name=re.compile("^Inspect dlq_.*hostile-1")).click()
    dialog = page.get_by_role("dialog", name="Dead letter")
    expect(dialog).to_contain_text(HOSTILE.replace('"', '\\"'))
    expect(dialog.locator("img, script")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name=re.compile("^Inspect"))).to_be_focused()
    assert page.title() == "streamd"


def test_markup_that_got_in_would_not_run(daemon: Streamd, open_page: Open) -> None:
    """The last line behind the text nodes: the browser itself refuses."""
    page = showing(open_page(daemon, expected="TrustedHTML"))
    refused = page.evaluate(
        "() => { try { document.body.innerHTML = '<p>'; } catch (e) { return e.name } }"
    )
    assert refused == "TypeError"


def reload(daemon: Streamd, text: str) -> None:
    daemon.configure(text)
    daemon._signal(signal.SIGHUP)


def test_a_reload_is_told_and_drawn(daemon: Streamd, open_page: Open) -> None:
    page = showing(open_page(daemon))
    status = page.get_by_role("status").first
    reload(daemon, CONFIGURATION.replace("rate = 200", f"{json.dumps(HOSTILE)} = 1"))
    expect(status).to_contain_text("Reload: Refused")
    expect(page.locator("#reload-result")).to_contain_text("the old configuration goes on")
    expect(page.locator("#reload-message")).to_contain_text("<img src=x")
    more = '\n[[pipeline.events.sink]]\nid = "copy"\nplugin = "file"\npath = "copy.jsonl"\n'
    reload(daemon, CONFIGURATION + more)
    expect(status).to_contain_text("Reload: Accepted")
    expect(page.get_by_role("link", name=re.compile("^copy, sink file"))).to_be_visible()
    assert page.title() == "streamd"
    reload(daemon, CONFIGURATION)
    expect(page.get_by_role("link", name=re.compile("^copy, sink file"))).to_have_count(0)


def test_the_keyboard_reaches_everything(daemon: Streamd, open_page: Open) -> None:
    page = showing(open_page(daemon))
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    graph = page.get_by_role("region", name="Graph of events")
    expect(graph).to_be_focused()
    assert graph.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    box = page.get_by_role("link", name=re.compile("^made_up, "))
    expect(box).to_be_focused()
    assert box.locator("rect").evaluate("node => getComputedStyle(node).strokeWidth") == "4px"
    page.keyboard.press("Enter")
    expect(page.locator("#stage-events-made_up")).to_be_in_viewport()


def test_updates_can_be_paused(daemon: Streamd, open_page: Open) -> None:
    page = showing(open_page(daemon))
    pause = page.get_by_role("button", name="Pause updates")
    pause.focus()
    page.keyboard.press("Space")
    expect(pause).to_have_attribute("aria-pressed", "true")
    page.wait_for_load_state("networkidle")
    about = page.locator("#about").inner_text()
    page.wait_for_timeout(4500)
    assert page.locator("#about").inner_text() == about
    page.keyboard.press("Space")
    expect(page.locator("#about")).not_to_have_text(about)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_it_can_be_read_by_all(daemon: Streamd, open_page: Open, width: int, scheme: str) -> None:
    """axe-core finds nothing (names, roles, landmarks, contrast), and no line needs scrolling."""
    page = showing(open_page(daemon, width, scheme))
    for summary in page.locator("summary").all():
        summary.click()
    page.get_by_role("button", name="Look").click()
    expect(page.locator("#letters-news")).to_contain_text("letter")
    found = Axe().run(page).response
    told = [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found["violations"]]
    assert told == []
    assert {"color-contrast", "landmark-one-main"} <= {one["id"] for one in found["passes"]}
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    faint = page.evaluate(CONTRAST)
    assert faint == []


# axe cannot judge text in SVG: what its fill has against the card that it lies on.
CONTRAST = """() => {
  const light = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255)
      .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const card = light(getComputedStyle(document.querySelector("section")).backgroundColor);
  const texts = [...document.querySelectorAll("svg text")].map((node) => [node, "fill", 4.5]);
  const lines = [...document.querySelectorAll("path.line, path.series, .box rect")]
    .map((node) => [node, "stroke", 3]);
  return [...texts, ...lines]
    .filter(([node, what, least]) => ratio(light(getComputedStyle(node)[what]), card) < least)
    .map(([node]) => node.outerHTML.slice(0, 100));
}"""
