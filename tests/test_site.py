"""The site is built without a warning, and a reader's browser asks no other host for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

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
