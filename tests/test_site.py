"""The site is built without a warning, and a reader's browser asks no other host for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import pytest

from beanstalkt import Client, errors
from beanstalkt.cli.description import describe
from beanstalkt.worker.events import Event

from .support.documents import DOC

pytest.importorskip("sphinx")
pytest.importorskip("furo")
pytest.importorskip("myst_parser")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. A warning, such as one of a link that leads nowhere, is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"),
            *("-d", folder / "doctrees", DOC, folder / "html"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]+src=\"([^\"]+)", text)
        loaded += re.findall(r"<link[^>]+href=\"([^\"]+)", text)
        assert not [target for target in loaded if re.match(r"(\w+:)?//", target)], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(\w+:)?//", sheet.read_text()), sheet


def test_every_link_leads_to_a_place_that_is_there(site: Path) -> None:
    places: dict[Path, set[str]] = {}
    links: set[tuple[Path, str]] = set()
    for page in site.rglob("*.html"):
        text = page.read_text()
        places[page] = {"", *re.findall(r'\bid="([^"]+)"', text)}
        links |= {(page, link) for link in re.findall(r'<a\b[^>]*\bhref="([^"]+)"', text)}
    assert len(links) > 1000
    wrong = []
    for page, link in links:
        if re.match(r"\w+:", link):
            continue
        path, _, place = unquote(unescape(link)).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not (place in places[target] if target in places else target.is_file()):
            wrong.append(f"{page.relative_to(site)}: {link}")
    assert not wrong


def test_the_search_needs_no_server(site: Path) -> None:
    # A page that was opened as a file may load a script, but may not fetch a file of data.
    assert (site / "searchindex.js").read_text().startswith("Search.setIndex(")
    assert "searchindex.js" in (site / "search.html").read_text()


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("client", ["put_many", "reserve_job", "pause_tube", "set_reconnect_callback"]),
        ("blocking", ["put_many", "reserve_job"]),
        ("errors", ["ReservationLost", "OutOfMemory"]),
        ("worker", ["JobFinished", "Retry"]),
        ("command-line", ["--lines", "kick-job", "69"]),
        ("configuration", ["max_attempts", "on_exit_75", "pass_tube", "allow_private"]),
        ("pool", ["may_double", "least-outstanding", "beanstalkt.blocking.Pool"]),
        ("metrics", ["beanstalkd_tube_jobs", "beanstalkt_runner_jobs_total", "outcome"]),
        ("schema", ["not_before", "queued_job_log", "queued_job_unique_key"]),
        ("django", ["ENQUEUE_ON_COMMIT", "TASK_MODULES", "schedule_function"]),
        ("console", ["allowed_hosts", "/healthz"]),
    ],
)
def test_the_reference_has_what_one_looks_up(site: Path, page: str, names: list[str]) -> None:
    text = (site / "reference" / f"{page}.html").read_text()
    assert not [name for name in names if name not in text]


PACKAGES = (
    *("beanstalkt", "beanstalkt.admin", "beanstalkt.blocking", "beanstalkt.console"),
    *("beanstalkt.dispatch", "beanstalkt.server", "beanstalkt.sql", "beanstalkt.worker"),
)


def with_subclasses(base: type[Exception]) -> Iterator[type[Exception]]:
    yield base
    for each in base.__subclasses__():
        if each.__module__ == base.__module__:
            yield from with_subclasses(each)


def test_the_reference_has_every_public_name(site: Path) -> None:
    text = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    described = {name.rpartition(".")[2] for name in re.findall(r'<dt[^>]* id="([\w.]+)"', text)}
    modules = [import_module(name) for name in PACKAGES]
    public = {name for module in modules for name in module.__all__ if name != "__version__"}
    events = vars(import_module("beanstalkt.worker.events")).values()
    public |= {
        each.__name__ for each in events if isinstance(each, type) and issubclass(each, Event)
    }
    public |= {
        name
        for name, each in vars(errors).items()
        if getattr(each, "__module__", "") == "beanstalkt.errors"
    }
    public |= {name for name in vars(Client) if not name.startswith("_")}
    assert not public - described


def test_the_reference_has_every_verb_and_option(site: Path) -> None:
    text = (site / "reference" / "command-line.html").read_text()
    verbs = describe()[1]
    flags = {flag for verb in verbs for option in verb.options for flag in option.flags}
    assert len(flags) > 80
    assert not [name for name in {*flags, *(verb.name for verb in verbs)} if name not in text]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_it_can_be_read_on_a_phone_and_searched_without_a_server(site: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    requests: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        page.on("request", lambda request: requests.append(request.url))
        for path in ("index", "tutorial", "howto/console", "reference/command-line", "scale"):
            page.goto((site / f"{path}.html").as_uri())
            wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, path
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor")
            != "rgb(255, 255, 255)"
        )
        page.goto((site / "search.html").as_uri() + "?q=rendezvous")
        page.get_by_role("link", name="Scale").wait_for(timeout=20_000)
        browser.close()
    assert not [url for url in requests if not url.startswith(("file:", "data:"))]
