"""A browser, and a console for it: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    sync_playwright,
)

from beanstalkt.blocking import Client
from beanstalkt.errors import NotFound

from ..support.embedded import Apart
from ..support.ports import free_port
from ..support.waiting import block_until

CHROMIUM = shutil.which("chromium")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

MARKUP = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
TUBE = "mail/<out>".replace("<", "(").replace(">", ")")

WATCH_FOR_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error("violation", event.violatedDirective, event.blockedURI));
"""


class Place:
    """A server with jobs, and a console that shows it."""

    def __init__(self, *options: str) -> None:
        self.server = Apart()
        self.server.start()
        self.port = free_port()
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = ("--server", f"main={self.server.url}", "--port", str(self.port), *self.options)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "beanstalkt.cmd", "console", *options),
                *("--interval", "0.2", "--server", "lost=beanstalk://127.0.0.1:1"),
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        block_until(self._answers, "the console answers")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None

    def close(self) -> None:
        self.stop()
        self.server.stop()

    def client(self) -> Client:
        return Client(self.server.host, self.server.port)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def a_place(*options: str) -> Iterator[Place]:
    place = Place(*options)
    try:
        place.start()
        yield place
    finally:
        place.close()


def fill(client: Client) -> None:
    """Empty the tubes of the tests, and put the same jobs again, of all states but reserved."""
    for tube in client.list_tubes():
        for peek in (client.peek_ready, client.peek_delayed, client.peek_buried):
            while True:
                try:
                    client.delete(peek(tube=tube).id)
                except NotFound:
                    break
    client.put('{"to": "ann@example.com", "n": [1, 2]}', tube=TUBE)
    client.put(MARKUP, 5, tube=TUBE)
    client.put(b"\x1b[31m\x00 binary \xff", delay=1000, tube=TUBE)
    client.bury(client.reserve_job(client.put("buried", tube=TUBE)))
    client.put("alone", tube="other")


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
        )
        contexts.append(context)
        context.set_default_timeout(20_000)
        context.add_init_script(WATCH_FOR_VIOLATIONS + init)
        page = context.new_page()
        page.on("pageerror", lambda error: reports.append(str(error)))
        page.on("dialog", lambda dialog: reports.append(f"a dialog: {dialog.message}"))
        own = (url[: url.index("/", 7)] if "/" in url[7:] else url, "data:", "blob:")

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


def shoot(page: Page, name: str) -> None:
    """Keep a screenshot where somebody wants to look at it: SCREENSHOTS names a directory."""
    directory = os.environ.get("SCREENSHOTS")
    if directory:
        page.screenshot(path=Path(directory) / f"{name}.png", full_page=True)
