"""Each action of the console, by the keyboard alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from beanstalkt.errors import NotFound

from ..support.console_place import TUBE, TUBE_PATH, Place, serious, shoot
from ..support.waiting import block_until

OpenPage = Callable[..., Page]
JOBS_PATH = f"/server/main/jobs?tube={quote(TUBE)}"


def tab_to(page: Page, name: str) -> None:
    """Go to a button or link with the Tab key, which must reach it."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if name == page.evaluate("document.activeElement.textContent"):
            return
    raise AssertionError(f"the Tab key does not reach {name!r}")


def states(place: Place, tube: str = TUBE) -> tuple[int, ...]:
    with place.client() as client:
        try:
            stats = client.stats_tube(tube)
        except NotFound:
            return (0, 0, 0)
        return (
            stats["current-jobs-ready"],
            stats["current-jobs-delayed"],
            stats["current-jobs-buried"],
        )


@pytest.mark.parametrize(
    ("path", "button", "counted", "result", "after"),
    [
        (TUBE_PATH, "Kick…", "2 jobs will be kicked", "2 jobs kicked.", (4, 0, 0)),
        (TUBE_PATH, "Clear…", "4 jobs will be deleted", "4 jobs deleted.", (0, 0, 0)),
        (
            f"{JOBS_PATH}&state=ready",
            "Bury…",
            "2 jobs will be buried",
            "2 jobs buried.",
            (0, 1, 3),
        ),
        (
            f"{JOBS_PATH}&text=onerror",
            "Delete…",
            "1 job will be deleted",
            "1 job deleted.",
            (1, 1, 1),
        ),
    ],
)
def test_an_action_on_all_that_match(
    place: Place,
    open_page: OpenPage,
    path: str,
    button: str,
    counted: str,
    result: str,
    after: tuple[int, ...],
) -> None:
    page = open_page(place.url + path)
    expect(page.get_by_role("button", name=button)).to_be_visible()
    tab_to(page, button)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("status")).to_contain_text(counted)
    assert serious(page) == []
    shoot(page, f"dialog-{button.strip('…').lower()}")
    before = states(place)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert states(place) == before, "to leave the dialog does nothing"
    # The focus is where it was, so Enter opens it again.
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("status")).to_contain_text(counted)
    verb = button.strip("…")
    dangerous = verb in ("Clear", "Delete")
    if dangerous:
        expect(dialog.get_by_role("link", name="Export these jobs first")).to_be_visible()
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Shift+Tab")
    expect(dialog.get_by_role("button", name=re.compile(verb))).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("status")).to_have_text(result)
    assert states(place) == after
    page.keyboard.press("Enter")  # closes it
    expect(dialog).to_have_count(0)


@pytest.mark.parametrize(("verb", "left"), [("Move", (0, 0, 0)), ("Copy", (2, 1, 1))])
def test_jobs_go_to_another_tube(
    place: Place, open_page: OpenPage, verb: str, left: tuple[int, ...]
) -> None:
    target = f"{verb}.target"
    page = open_page(place.url + TUBE_PATH)
    expect(page.get_by_role("button", name=f"{verb}…")).to_be_visible()
    tab_to(page, f"{verb}…")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("status")).to_contain_text("4 jobs will be")
    expect(dialog.get_by_label("To the tube")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type(target)
    shoot(page, f"dialog-{verb.lower()}")
    assert serious(page) == []
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("status")).to_contain_text("4 jobs")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    assert states(place, target) == (2, 1, 1)
    assert states(place) == left


def test_a_tube_is_paused_and_resumed(place: Place, open_page: OpenPage) -> None:
    page = open_page(place.url + TUBE_PATH)
    expect(page.get_by_role("button", name="Pause…")).to_be_visible()
    tab_to(page, "Pause…")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_label("For how many seconds").press("Enter")
    expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("paused.")
    page.keyboard.press("Enter")
    expect(page.locator("main .badge-paused")).to_be_visible()
    tab_to(page, "Resume…")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Resume")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("status")).to_have_text("resumed.")
    page.keyboard.press("Enter")
    expect(page.locator("main .badge-paused")).to_have_count(0)


def test_a_job_is_put_and_looked_at_and_deleted(place: Place, open_page: OpenPage) -> None:
    page = open_page(f"{place.url}/server/main/put?tube=new")
    expect(page.get_by_label("Body", exact=True)).to_be_focused()
    page.keyboard.type('{"a": [1]}')
    tab_to(page, "Put the job")
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name=re.compile(r"job main.\d+"))
    expect(link).to_be_visible()
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("tabpanel")).to_contain_text('"a": [')
    page.get_by_role("tab").first.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="hex")).to_be_focused()
    expect(page.get_by_role("tabpanel")).to_contain_text("7b 22 61")
    page.get_by_role("button", name="Delete…").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("status")).to_contain_text("1 job will be deleted")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("status")).to_have_text("1 job deleted.")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("NOT_FOUND")
    page.goto(place.url + "/actions")
    expect(page.locator("tbody tr").first).to_contain_text("delete")
    expect(page.locator("tbody tr").first).to_contain_text("local from 127.0.0.1")


def test_an_export_is_downloaded_and_imported_again(
    place: Place, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(place.url + TUBE_PATH)
    with page.expect_download() as download:
        expect(page.get_by_role("link", name="Export")).to_be_visible()
        tab_to(page, "Export")
        page.keyboard.press("Enter")
    file = tmp_path / "jobs.jsonl"
    download.value.save_as(file)
    lines = file.read_text().splitlines()
    assert {json.loads(line)["tube"] for line in lines} == {TUBE}
    assert len(lines) == 4
    tab_to(page, "Import…")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("File").set_input_files(file)
    dialog.get_by_label("File").focus()
    tab_to(page, "Import")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("status")).to_have_text("4 jobs imported.")
    block_until(lambda: states(place) == (4, 2, 2))
