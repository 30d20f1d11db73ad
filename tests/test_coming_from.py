"""What the pages for newcomers name as ours is there."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import beanstalkt
from beanstalkt import blocking
from beanstalkt.cli.description import describe
from beanstalkt.worker.config.options import COMMON, RUN
from beanstalkt.worker.handlers.registry import load_handlers

from .support.documents import DOC

PAGES = sorted((DOC / "coming-from").glob("*.md"))
CLIENTS = ("aiostalk", "beanstalkc", "beanstalkt", "greenstalk", "pystalk")


def ours(page: Path) -> Iterator[str]:
    """What stands as code in the column "here", or "now", of the tables."""
    column = 0
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]
        column = next((cells.index(name) for name in ("here", "now") if name in cells), column)
        if line.startswith("| ") and column < len(cells):
            yield from re.findall(r"`([^`]+)`", cells[column])


@pytest.mark.parametrize("name", CLIENTS)
def test_names_of_the_client_exist(name: str) -> None:
    owners = (blocking.Client, blocking.Pool, blocking.Job, beanstalkt, builtins)
    known = {attribute for owner in owners for attribute in dir(owner)}
    known |= {*beanstalkt.__all__, "with", "await", "response_timeout"}
    known |= {"sent", "job_id", "server"}  # of errors
    found = {
        word
        for text in ours(DOC / "coming-from" / f"{name}.md")
        for word in re.findall(r"(?:^|\.)([A-Za-z_]\w*)(?=\(|$)", text)
    }
    assert len(found) > 2
    assert not found - known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_flags_and_keys_exist(page: Path) -> None:
    flags = {flag for verb in describe()[1] for each in verb.options for flag in each.flags}
    options = [*COMMON, *RUN, *(each for handler in load_handlers() for each in handler.options)]
    keys = {option.name for option in options} | {"server", "servers", "host", "port"}
    text = "\n".join(ours(page))
    assert set(re.findall(r"(?<!\S)--[a-z][a-z-]+", text)) <= flags
    keys_named = set(re.findall(r"^([a-z_]+) = ", text, re.MULTILINE))
    assert keys_named <= keys
