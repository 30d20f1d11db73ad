"""A console with something to show, and what tests ask about its pages in a browser."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from beanstalkt.blocking import Client
from beanstalkt.errors import NotFound

from .embedded import Apart
from .ports import free_port
from .waiting import block_until

MARKUP = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
TUBE = "mail/<out>".replace("<", "(").replace(">", ")")
TUBE_PATH = f"/server/main/tube/{quote(TUBE, safe='')}"


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


def serious(page: Page) -> list[Any]:
    """What axe-core finds that would keep somebody from using the page."""
    found = Axe().run(page).response["violations"]
    return [
        (each["id"], [node["html"][:200] for node in each["nodes"]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


def shoot(page: Page, name: str) -> None:
    """Keep a screenshot where somebody wants to look at it: SCREENSHOTS names a directory."""
    directory = os.environ.get("SCREENSHOTS")
    if directory:
        page.screenshot(path=Path(directory) / f"{name}.png", full_page=True)
