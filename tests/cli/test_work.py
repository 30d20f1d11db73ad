"""What the arguments of the verb work configure. Its runs are tested in tests/integration."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from beanstalkt.cli.parser import parse
from beanstalkt.cli.work import flags_of, open_history
from beanstalkt.worker.config.options import COMMON, ON_EXIT, RUN
from beanstalkt.worker.config.sources import Flags
from beanstalkt.worker.handlers.base import Option
from beanstalkt.worker.handlers.registry import load_handlers
from beanstalkt.worker.runner import Stage

OPTIONS = [*COMMON, *RUN, *(option for handler in load_handlers() for option in handler.options)]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEANSTALKT_CONFIG", raising=False)


def flags(*words: str) -> Flags:
    return flags_of(parse(["work", *words]))


def test_without_arguments_nothing_is_chosen() -> None:
    assert flags() == Flags({}, [], False, [], None, None, "BEANSTALKT_CONFIG")


def test_tubes_a_file_and_a_server_are_chosen() -> None:
    words = ["--tube", "a:2", "--tube", "b", "--all-tubes", "--exclude", "tmp.*", "-P", "1"]
    assert flags(*words, "--config", "work.ini") == Flags(
        {}, ["a:2", "b"], True, ["tmp.*"], "work.ini", "beanstalk://localhost:1", "--config"
    )


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_each_option_of_a_file_is_an_option_of_the_verb(option: Option) -> None:
    if option.switch:
        assert flags(option.flag).options == {option.name: "yes"}
    else:
        # The text is not converted here: what is wrong is reported with the problems of the file.
        assert flags(option.flag, "any text").options == {option.name: "any text"}


def test_actions_of_several_exit_statuses_are_joined() -> None:
    words = ["--on-exit", "75=release:300", "--on-exit", "3=bury"]
    assert flags(*words).options == {ON_EXIT.name: "75=release:300 3=bury"}


@pytest.mark.parametrize(("value", "config"), [("work.ini", "work.ini"), ("", None)])
def test_the_file_may_be_named_by_the_environment(
    value: str, config: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEANSTALKT_CONFIG", value)
    found = flags()
    assert (found.config, found.config_place) == (config, "BEANSTALKT_CONFIG")
    found = flags("--config", "other.ini")
    assert (found.config, found.config_place) == ("other.ini", "--config")


async def test_a_runner_that_is_killed_does_not_wait_for_its_history() -> None:
    """Neither when it was killed before its end, nor while it waits."""

    class Hanging:
        dropped = False

        async def __aenter__(self) -> Hanging:
            return self

        async def __aexit__(self, *_: object) -> None:
            assert self.dropped

        async def close(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                self.dropped = True

    class Ended:
        stage = Stage.DRAINING

    for early in (True, False):
        runner = Ended()
        if early:
            runner.stage = Stage.KILLING
        else:
            asyncio.get_running_loop().call_later(0.1, setattr, runner, "stage", Stage.KILLING)
        async with open_history(cast(Any, Hanging()), cast(Any, runner)):
            pass
