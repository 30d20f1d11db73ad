from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from beanstalkt.django import log

LOGGER = logging.getLogger("beanstalkt.tests.django")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("root", "django", "beanstalkt")]
    kept = [(each, each.handlers[:], each.level) for each in loggers]
    yield
    for each, handlers, level in kept:
        each.handlers[:] = handlers
        each.setLevel(level)


def test_loggers_of_the_package_are_enabled_again_and_no_others() -> None:
    other = logging.getLogger("beanstalkts")
    LOGGER.disabled = other.disabled = True
    log.enable()
    assert not LOGGER.disabled
    assert other.disabled
    other.disabled = False


@pytest.mark.parametrize("name", ["root", "django"])
def test_the_console_is_left_to_the_runner_but_no_file_is(name: str) -> None:
    console, file = logging.StreamHandler(), logging.FileHandler("/dev/null", delay=True)
    runners = logging.StreamHandler()
    logging.getLogger(name).handlers[:] = [console, file]
    log.leave_to_runner([runners])
    found = logging.getLogger(name).handlers + log.root_handlers()
    assert console not in found
    assert file in found
    assert runners in log.root_handlers()


@pytest.mark.parametrize(
    ("said", "level"), [(logging.NOTSET, logging.INFO), (logging.ERROR, logging.ERROR)]
)
def test_jobs_are_told_unless_the_project_says_otherwise(said: int, level: int) -> None:
    logger = logging.getLogger("beanstalkt")
    logger.setLevel(said)
    log.tell_jobs()
    assert logger.level == level
