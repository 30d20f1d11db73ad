"""A browser, and a console for it: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    sync_playwright,
)

from ..support.console_place import Place, a_place, fill

CHROMIUM = shutil.which("chromium")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # The name that the how-to page about the console has behind nginx.
    "--host-resolver-rules=MAP queue.example.com 127.0.0.1",
)

WATCH_FOR_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error("violation", event.violatedDirective, event.blockedURI));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        # A new profile in a new directory each time.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shared_place(browser: Browser) -> Iterator[Place]:
    with a_place() as place:
        yield place


@pytest.fixture
def place(shared_place: Place) -> Place:
    with shared_place.client() as client:
        fill(client)
    return shared_place


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Makes pages; in the end, none of them may have reported anything."""
    contexts: list[BrowserContext] = []
    reports: list[str] = []

    def make(url: str, *, dark: bool = False, width: int = 1280, init: str = "") -> Page:
        context = browser.new_context(
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": 800},
            reduced_motion="reduce",
            ignore_https_errors=True,
        )
        contexts.append(context)
        context.set_default_timeout(20_000)
        context.add_init_script(WATCH_FOR_VIOLATIONS + init)
        page = context.new_page()
        page.on("pageerror", lambda error: reports.append(str(error)))
        page.on("dialog", lambda dialog: reports.append(f"a dialog: {dialog.message}"))
        own = (url[: url.index("/", 8)] if "/" in url[8:] else url, "data:", "blob:")

        def note(message: ConsoleMessage) -> None:
            if _is_report(message.text):
                reports.append(message.text)

        def note_foreign(request: Request) -> None:
            if not request.url.startswith(own):
                reports.append(request.url)

        page.on("console", note)
        page.on("request", note_foreign)  # none goes to any other host
        page.goto(url)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not reports


def _is_report(text: str) -> bool:
    return "violation" in text or "Content Security Policy" in text or "Trusted" in text
