"""The files that are given along are right."""

from __future__ import annotations

import re
from pathlib import Path

from beanstalkt.worker.config import ini
from beanstalkt.worker.config.loading import Flags, load
from beanstalkt.worker.config.options import COMMON
from beanstalkt.worker.config.settings import TubeSettings
from beanstalkt.worker.handlers.command.handler import CommandHandler
from beanstalkt.worker.policy.decision import Policy

CONTRIB = Path(__file__).parents[2] / "contrib"
SAMPLE = CONTRIB / "beanstalkt.ini"


def test_the_sample_configuration() -> None:
    settings = load(Flags(config=str(SAMPLE)), {})
    assert [tube.tube for tube in settings.tubes] == ["mail", "thumbnails"]
    for tube in settings.tubes:
        tube.make_handler().check()


def test_what_it_calls_defaults_are_the_defaults(tmp_path: Path) -> None:
    text = SAMPLE.read_text()
    defaults = tmp_path / "defaults.ini"
    defaults.write_text(text[: text.index("[tube:mail]")] + "[tube:a]\ncommand=cat\n")
    (tube,) = load(Flags(config=str(defaults)), {}).tubes
    assert tube == TubeSettings("a", tube.handler, tube.values)
    assert tube.policy == Policy()


def test_it_names_every_option() -> None:
    # Those that are commented out too.
    text = re.sub(r"(?m)^; ", "", SAMPLE.read_text())
    sections, problems = ini.parse(text)
    assert not problems
    keys = {key for section in sections for key in section.entries}
    assert {option.name for option in (*COMMON, *CommandHandler.options)} <= keys


def test_the_examples_that_are_commented_out_are_right(tmp_path: Path) -> None:
    file = tmp_path / "all.ini"
    file.write_text(re.sub(r"(?m)^; ", "", SAMPLE.read_text()))
    settings = load(Flags(config=str(file)), {})
    assert settings.tubes[-1].exclude == ("tmp.*", "private")
    assert settings.tubes[0].policy.on_exit


def test_the_systemd_unit() -> None:
    sections, problems = ini.parse((CONTRIB / "beanstalkt-work.service").read_text())
    # To systemd, a key that stands twice is two commands.
    assert [message for _, message in problems] == ["execstop stands in line 21 already"]
    service = {section.name: section.entries for section in sections}["Service"]
    assert service["type"].value == "notify"
    assert service["killmode"].value == "control-group"
    assert service["execreload"].value == "/bin/kill -HUP $MAINPID"
