"""Every page of the console in a real browser: as it looks, for everybody, and live."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from ..support.console_place import MARKUP, TUBE, TUBE_PATH, Place, a_place, fill, serious, shoot
from ..support.history_database import with_events
from ..support.waiting import block_until

OpenPage = Callable[..., Page]
PAGES = {
    "servers": ("/", "Servers"),
    "tubes": ("/server/main", "main"),
    "lost": ("/server/lost", "lost"),
    "tube": (TUBE_PATH, TUBE),
    "jobs": ("/server/main/jobs", "Jobs"),
    "job": ("/server/main/job/{job}", "Job main/{job}"),
    "put": ("/server/main/put", "Put a job"),
    "runners": ("/runners", "Runners"),
    "history": ("/history", "History"),
    "actions": ("/actions", "Actions"),
    "nothing": ("/nothing", "There is no such page"),
}


def first_job(place: Place) -> int:
    with place.client() as client:
        return client.peek_ready(tube=TUBE).id


@pytest.mark.parametrize(
    ("dark", "width"), [(True, 390), (False, 1280)], ids=["dark phone", "light wide"]
)
def test_every_page_can_be_used_by_everybody(
    place: Place, open_page: OpenPage, dark: bool, width: int
) -> None:
    job = first_job(place)
    page = open_page(place.url, dark=dark, width=width)
    for name, (path, title) in PAGES.items():
        page.goto(place.url + path.format(job=job))
        expect(page.get_by_role("heading", level=1)).to_have_text(title.format(job=job))
        expect(page).to_have_title(re.compile("beanstalkt"))
        if name in ("servers", "tubes", "tube"):
            expect(page.get_by_role("status").first).to_have_text("Live")
            expect(page.locator("main .tile strong").first).to_have_text(re.compile("[0-9]"))
        if name == "tube":
            expect(page.locator(".plot canvas").first).to_be_visible()
        if name == "jobs":
            expect(page.locator("tbody tr")).to_have_count(5)
        if name == "job":
            expect(page.get_by_role("tab").first).to_be_visible()
        shoot(page, f"{name}-{'dark' if dark else 'light'}-{width}")
        assert serious(page) == [], name
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, f"{name} is wider than the screen"


def test_what_a_body_or_a_name_holds_is_never_markup(place: Place, open_page: OpenPage) -> None:
    page = open_page(place.url)
    page.goto(f"{place.url}/server/main/jobs?tube={quote(TUBE)}")
    expect(page.get_by_text(MARKUP)).to_be_visible()
    page.goto(f"{place.url}/server/main/job/{first_job(place)}")
    expect(page.get_by_role("tabpanel")).to_contain_text("onerror")
    # Nor what somebody else's link holds.
    page.goto(f"{place.url}/server/{quote(MARKUP, safe='')}")
    expect(page.get_by_role("heading", level=1)).to_have_text(MARKUP)
    page.goto(f"{place.url}/server/main/jobs?text={quote(MARKUP)}&tube={quote(MARKUP)}")
    expect(page.get_by_role("alert")).to_be_visible()
    assert page.locator("main img, main script").count() == 0


def test_a_change_is_on_the_screen_without_a_reload(place: Place, open_page: OpenPage) -> None:
    page = open_page(place.url + TUBE_PATH)
    ready = page.locator(".tile-ready strong")
    expect(ready).to_have_text("2")
    with place.client() as client:
        client.put(b"", tube=TUBE)
        expect(ready).to_have_text("3", timeout=2500)
        page.get_by_role("button", name="Pause", exact=True).click()
        expect(page.get_by_role("status").first).to_have_text("Paused")
        client.put(b"", tube=TUBE)
        page.wait_for_timeout(600)  # three samples, of which none may be drawn
        expect(ready).to_have_text("3")
        page.get_by_role("button", name="Resume", exact=True).first.click()
        expect(ready).to_have_text("4")


def test_a_page_in_the_background_is_not_told(place: Place, open_page: OpenPage) -> None:
    page = open_page(place.url + TUBE_PATH)
    ready = page.locator(".tile-ready strong")
    expect(ready).to_have_text("2")

    def hide(hidden: bool) -> None:
        page.evaluate(
            """(hidden) => {
              Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
              document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )

    hide(True)
    with place.client() as client:
        client.put(b"", tube=TUBE)
    page.wait_for_timeout(600)
    expect(ready).to_have_text("2")
    hide(False)
    expect(ready).to_have_text("3")


def test_a_lost_connection_is_shown_and_heals_itself(open_page: OpenPage) -> None:
    with a_place() as place:
        with place.client() as client:
            fill(client)
        page = open_page(place.url + TUBE_PATH)
        state = page.get_by_role("status").first
        expect(state).to_have_text("Live")
        place.stop()
        expect(state).to_have_text(re.compile("Connection lost"))
        place.start()
        expect(state).to_have_text(re.compile("Live"))
        with place.client() as client:
            client.put(b"", tube=TUBE)
        expect(page.locator(".tile-ready strong")).to_have_text("3")


def test_without_a_websocket_the_page_asks(place: Place, open_page: OpenPage) -> None:
    init = """
    window.WebSocket = class {
      static OPEN = 1;
      constructor() { setTimeout(() => this.onclose({ code: 1006 }), 0); }
      close() {}
      send() {}
    };
    """
    page = open_page(place.url + TUBE_PATH, init=init)
    expect(page.get_by_role("status").first).to_have_text("Live (asking)")
    expect(page.locator(".tile-ready strong")).to_have_text("2")
    with place.client() as client:
        client.put(b"", tube=TUBE)
    expect(page.locator(".tile-ready strong")).to_have_text("3")


COLOURS = """() => {
  const canvas = document.querySelector(".plot canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = new Set([getComputedStyle(document.body).backgroundColor]);
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] === 255) found.add(`rgb(${data[i]}, ${data[i + 1]}, ${data[i + 2]})`);
  }
  return [...found];
}"""


@pytest.mark.parametrize("dark", [False, True])
def test_colours_are_those_that_are_chosen_also_in_charts(
    place: Place, open_page: OpenPage, dark: bool
) -> None:
    # The page and the grid of a chart.
    light_ones, dark_ones = (
        {"rgb(246, 247, 248)", "rgb(225, 228, 232)"},
        {"rgb(20, 24, 28)", "rgb(48, 56, 65)"},
    )
    first, second = (dark_ones, light_ones) if dark else (light_ones, dark_ones)
    page = open_page(place.url + TUBE_PATH, dark=dark)
    expect(page.locator(".plot canvas").first).to_be_visible()

    def shown(expected: set[str], others: set[str]) -> bool:
        found = set(page.evaluate(COLOURS))
        return expected <= found and not others & found

    block_until(lambda: shown(first, second))
    page.get_by_role("button", name="Switch between dark and light").click()
    block_until(lambda: shown(second, first))
    page.reload()
    expect(page.locator(".plot canvas").first).to_be_visible()
    block_until(lambda: shown(second, first))


def test_what_one_sees_can_be_linked_to(place: Place, open_page: OpenPage) -> None:
    page = open_page(place.url + "/server/main")
    expect(page.get_by_role("link", name="other")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("oth")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Buried").click()
    expect(page).to_have_url(re.compile(r"q=oth&sort=-buried"))
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("oth")
    expect(page.get_by_role("columnheader", name="Buried")).to_have_attribute(
        "aria-sort", "descending"
    )
    page.get_by_role("link", name="other").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("other")
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("oth")
    page.get_by_role("link", name="Browse jobs").click()
    page.get_by_label("Text in the body").fill("alone")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("text=alone"))
    expect(page.locator("tbody tr")).to_have_count(1)


def test_the_password_is_asked_for(open_page: OpenPage, tmp_path: Any) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    with a_place("--password-file", str(file), "--read-only") as place:
        with place.client() as client:
            fill(client)
        page = open_page(place.url + TUBE_PATH)
        expect(page.get_by_label("Password")).to_be_focused()
        assert serious(page) == []
        shoot(page, "login")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The password is wrong.")
        page.keyboard.type("secret")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(TUBE)
        # Read-only: nothing is offered that would be refused.
        expect(page.get_by_text("read-only")).to_be_visible()
        expect(page.get_by_role("link", name="Export")).to_be_visible()
        expect(page.get_by_role("button", name=re.compile("…$"))).to_have_count(0)
        expect(page.get_by_role("link", name="Put a job")).to_have_count(0)
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Password")).to_be_visible()


def test_the_history_of_a_job(open_page: OpenPage, tmp_path: Path) -> None:
    url = with_events(tmp_path / "jobs.db", 250)
    with a_place("--history", url) as place:
        page = open_page(place.url + "/history")
        expect(page.locator("tbody tr")).to_have_count(100)
        page.get_by_role("button", name="Show older events").click()
        expect(page.locator("tbody tr")).to_have_count(200)
        assert serious(page) == []
        shoot(page, "history-filled")
        page.get_by_label("Tube").fill("a")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("tube=a"))
        expect(page.locator("tbody tr")).to_have_count(84)
        expect(page.get_by_text("<b>done</b>").first).to_be_visible()
        page.get_by_role("link", name="249").click()
        expect(page.locator("tbody tr")).to_have_count(1)
