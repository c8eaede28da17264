"""The console in a real browser: sizes, colours, keyboard, no JavaScript, and hostile names."""

from __future__ import annotations

import importlib.util
import shutil
import threading
from collections.abc import Iterator

import pytest

from fedethics.console.http import application
from fedethics.listening import Listening
from tests.console.conftest import HOSTILE, event

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine"),
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None, reason="playwright is not installed"
    ),
]
ROLES = ("coordinator", "operator", "officer")
_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
# Contrast of every text with what is painted behind it (WCAG 2.2, section 1.4.3).
_CONTRASTS = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const found = parts(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("body *")].filter((node) =>
    [...node.childNodes].some((each) => each.nodeType === 3 && each.data.trim()));
  return texts.map((node) => {
    const pair = [light(parts(getComputedStyle(node).color)), light(behind(node))].sort();
    return [(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), node.textContent.trim()];
  });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=BROWSER, args=list(_QUIET))
        yield opened
        opened.close()


@pytest.fixture
def address(shown) -> Iterator[str]:
    """Serve the homes on a real socket, as the command does."""
    import uvicorn

    with Listening(port=0).opened() as listener:
        listener.listening.listen()
        app = application(shown.places, token="", port=listener.port)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener.listening]})
        thread.start()
        yield f"http://127.0.0.1:{listener.port}"
        server.should_exit = True
        thread.join(20)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_fits_and_can_be_read(browser, address, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    for role in ROLES:
        page.goto(f"{address}/{role}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, role
        faint = [(ratio, text) for ratio, text in page.evaluate(_CONTRASTS) if ratio < 4.5]
        assert not faint, f"{role}: {faint}"
    page.close()


def test_the_keyboard_alone_reaches_every_role_and_shows_where_it_is(browser, address):
    page = browser.new_page()
    page.goto(f"{address}/coordinator")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    reached = []
    for _ in range(3):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
    assert reached == ["Coordinator", "Site operator", "Privacy officer"]
    page.keyboard.press("Enter")
    page.wait_for_url("**/officer")
    page.close()


def test_a_name_that_is_a_script_does_not_run(browser, address):
    page = browser.new_page()
    alerts, faults = [], []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda fault: faults.append(fault))
    page.goto(f"{address}/coordinator")
    assert HOSTILE in page.inner_text("main")
    assert page.locator("main script").count() == 0
    assert not alerts and not faults
    page.close()


def test_what_happens_appears_by_itself_and_focus_stays(browser, address, shown):
    page = browser.new_page()
    page.goto(f"{address}/coordinator")
    region = page.locator(".scroll").first
    region.focus()
    with (shown.job / "events.jsonl").open("a") as log:
        log.write(event(5, "round-started", round=2))
        log.write(event(6, "round-committed", round=2, survivors=["alpha", "beta"], dropped={}))
    page.wait_for_selector("text=2 of 2 rounds committed", timeout=20_000)
    assert page.evaluate("document.activeElement.className") == "scroll"
    page.close()


def test_without_javascript_every_page_says_the_same(browser, address):
    plain = browser.new_context(java_script_enabled=False).new_page()
    full = browser.new_page()
    for role in ROLES:
        plain.goto(f"{address}/{role}")
        full.goto(f"{address}/{role}")
        assert plain.inner_text("main") == full.inner_text("main")
    plain.close()
    full.close()


def test_no_page_asks_any_other_host(browser, address):
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for role in ROLES:
        page.goto(f"{address}/{role}")
    assert asked and all(url.startswith(address) for url in asked)
    page.close()
