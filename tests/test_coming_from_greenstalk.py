"""The page for those who come from greenstalk has a place for every name that greenstalk has."""

from __future__ import annotations

import re

import pytest

import beanstalkt
from beanstalkt.blocking import Client

from .support.documents import DOC

PAGE = (DOC / "coming-from" / "greenstalk.md").read_text()

ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in PAGE.splitlines()
    if line.startswith("| ")
]

VERBS = [
    "bury",
    "close",
    "delete",
    "ignore",
    "kick",
    "kick_job",
    "pause_tube",
    "peek",
    "peek_buried",
    "peek_delayed",
    "peek_ready",
    "put",
    "release",
    "reserve",
    "reserve_job",
    "stats",
    "stats_job",
    "stats_tube",
    "touch",
    "tubes",
    "use",
    "using",
    "watch",
    "watching",
]
"""The public names of greenstalk.Client, version 2."""

ERRORS = [
    "BadFormatError",
    "BeanstalkdError",
    "BuriedError",
    "DeadlineSoonError",
    "DrainingError",
    "Error",
    "ExpectedCrlfError",
    "InternalError",
    "JobTooBigError",
    "NotFoundError",
    "NotIgnoredError",
    "OutOfMemoryError",
    "TimedOutError",
    "UnknownCommandError",
    "UnknownResponseError",
]


def counterpart(name: str) -> str:
    """The second cell of the row that begins with this name."""
    (found,) = [row[1] for row in ROWS if re.match(rf"`{name}(\(.*\))?`$", row[0])]
    return found


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_its_place(name: str) -> None:
    first = re.findall(r"`(?:client\.)?(\w+)", counterpart(name))[0]
    assert callable(getattr(Client, first))


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_has_its_place(name: str) -> None:
    first = re.findall(r"`(\w+)", counterpart(name))[0]
    assert issubclass(getattr(beanstalkt, first), beanstalkt.BeanstalkException)


def test_the_lists_are_those_of_greenstalk() -> None:
    greenstalk = pytest.importorskip("greenstalk")
    assert {name for name in dir(greenstalk.Client) if not name.startswith("_")} == set(VERBS)
    assert {
        name for name, found in vars(greenstalk).items() if name.endswith("Error") and found
    } == set(ERRORS)
