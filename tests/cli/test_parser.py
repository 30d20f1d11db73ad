"""What is understood, and what is refused before anything is sent."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from beanstalkt.cli import parser as arguments


def parse(*argv: str) -> argparse.Namespace:
    options = arguments.build().parse_args(argv)
    options.check(options)
    return options


def error_of(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The line that refuses wrong usage."""
    with pytest.raises(SystemExit) as caught:
        parse(*argv)
    assert caught.value.code == 2
    written = capsys.readouterr()
    assert not written.out
    return written.err.splitlines()[-1]


SERVER = {
    ("--server", "beanstalk://h:1"): "beanstalk://h:1",
    ("--server", "unix:///run/a%20b"): "unix:///run/a%20b",
    ("-H", "h", "-P", "1"): "beanstalk://h:1",
    ("--host", "::1"): "beanstalk://[::1]:11300",
    ("--port", "65535"): "beanstalk://localhost:65535",
    (): None,
}


@pytest.mark.parametrize("words", SERVER)
def test_the_server_may_be_named_before_or_after_the_verb(words: tuple[str, ...]) -> None:
    assert parse(*words, "stats").server == SERVER[words]
    assert parse("stats", *words).server == SERVER[words]


def test_the_time_to_connect_may_stand_before_or_after_the_verb() -> None:
    assert parse("--connect-timeout", "0.5", "stats").connect_timeout == 0.5
    assert parse("stats", "--connect-timeout", "0").connect_timeout == 0.0
    assert parse("stats").connect_timeout == 3.0


def test_the_server_named_behind_the_verb_wins() -> None:
    assert parse("-P", "1", "stats", "-P", "2").server == "beanstalk://localhost:2"


def test_a_host_before_and_a_port_behind_the_verb_go_together() -> None:
    assert parse("-H", "h", "peek", "1", "-P", "2").server == "beanstalk://h:2"


def test_put_takes_its_old_letters() -> None:
    options = parse("put", "a body", "-p", "1", "-u", "t", "-d", "2", "-t", "3")
    assert (options.body, options.priority, options.use, options.delay, options.ttr) == (
        "a body",
        1,
        "t",
        2,
        3,
    )


def test_put_has_the_protocols_defaults() -> None:
    options = parse("put", "a body")
    assert (options.priority, options.use, options.delay, options.ttr) == (
        2**31,
        "default",
        0,
        120,
    )


@pytest.mark.parametrize("body", ["", "-5", "- one", "Grüße"])
def test_put_takes_odd_bodies(body: str) -> None:
    assert parse("put", body).body == body


def test_put_takes_a_body_that_begins_with_a_dash_behind_two() -> None:
    assert parse("put", "--", "--lines").body == "--lines"


def test_reserve_takes_its_old_letters() -> None:
    options = parse(
        "reserve", "-t", "5", "-w", "a", "-w", "b", "-i", "release", "-p", "1", "-d", "2"
    )
    assert options.action == "release"
    assert (options.timeout, options.watch, options.ignore_default) == (5, ["a", "b"], True)
    assert (options.priority, options.delay) == (1, 2)


def test_reserve_waits_for_ever_on_default_and_keeps_the_priority() -> None:
    options = parse("reserve")
    assert options.action is None
    assert (options.timeout, options.watch, options.ignore_default) == (None, [], False)
    assert (options.priority, options.delay) == (None, None)


@pytest.mark.parametrize("action", ["delete", "release", "bury"])
def test_reserve_and_reserve_job_take_an_action(action: str) -> None:
    assert parse("reserve", action).action == action
    assert parse("reserve-job", "7", action).action == action


def test_kick_and_pause_and_peek_take_their_old_letters() -> None:
    options = parse("kick", "-b", "9", "-u", "t")
    assert (options.bound, options.use) == (9, "t")
    assert parse("kick").bound == 1
    for verb in ("peek-ready", "peek-delayed", "peek-buried"):
        assert parse(verb, "-u", "t").use == "t"
    options = parse("pause", "t", "-d", "9")
    assert (options.tube, options.delay) == ("t", 9)


def test_delete_and_kick_job_take_many_ids() -> None:
    assert parse("delete", "1", str(2**64 - 1)).ids == [1, 2**64 - 1]
    assert parse("kick-job", "1", "2").ids == [1, 2]


WRONG = {
    (): "required: VERB",
    ("eat",): "invalid choice: 'eat'",
    ("put",): "either a body",
    ("put", "a", "--lines", "b"): "either a body",
    ("put", "a", "b"): "unrecognized arguments: b",
    ("put", "a", "-p", "1.5"): "'1.5' is not a whole number",
    ("put", "a", "-p", "-1"): "priority must be from 0 to 4294967295",
    ("put", "a", "-p", "4294967296"): "priority must be from 0 to 4294967295",
    ("put", "a", "-p", "9" * 1000): "priority must be from 0 to 4294967295",
    ("put", "a", "-p", "9" * 5000): "is not a whole number",
    ("put", "a", "-p", ""): "'' is not a whole number",
    ("put", "a", "-p", "1_0"): "'1_0' is not a whole number",
    ("put", "a", "-p", "٣"): "is not a whole number",
    ("put", "a", "-d", "x"): "'x' is not a whole number",
    ("put", "a", "-t", "-"): "'-' is not a whole number",
    ("put", "a", "-u", ""): "bad tube name ''",
    ("put", "a", "-u", "a b"): "bad tube name 'a b'",
    ("put", "a", "-u", "a\r\ndelete 1"): "bad tube name",
    ("put", "a", "-u", "x" * 201): "bad tube name",
    ("put", "a", "--prio", "1"): "unrecognized arguments: --prio 1",
    ("put", "--lines", "/nowhere/at all"): "cannot read /nowhere/at all: No such file",
    ("put", "--lines", "/"): "cannot read /: Is a directory",
    ("put", "--lines", "a\0b"): "cannot read a\0b: embedded null byte",
    ("peek", "x"): "'x' is not a whole number",
    ("peek", str(2**64)): "job id must be from 0",
    ("peek",): "required: ID",
    ("delete",): "required: ID",
    ("reserve", "eat"): "invalid choice: 'eat'",
    ("reserve", "-t", "2147483648"): "timeout must be from 0 to 2147483647",
    ("reserve", "-i"): "-i leaves no tube",
    ("reserve", "-i", "-w", "default"): "-i leaves no tube",
    ("reserve", "-p", "1"): "-p goes with release or bury",
    ("reserve", "delete", "-p", "1"): "-p goes with release or bury",
    ("reserve", "bury", "-d", "1"): "-d goes with release",
    ("reserve-job", "1", "delete", "-d", "1"): "-d goes with release",
    ("pause",): "required: TUBE",
    ("stats-tube", "ä"): "bad tube name",
    ("stats", "--server", "localhost:11300"): "it must begin with beanstalk://",
    ("stats", "--server", ""): "bad URL ''",
    ("stats", "--server", "beanstalk://h:1", "-P", "2"): "cannot be given too",
    ("-H", "h", "stats", "--server", "beanstalk://h:1"): "cannot be given too",
    ("stats", "-H", ""): "the host must be a name",
    ("-P", "1", "serve"): "behind the verb",
    ("stats", "-P", "0"): "port must be from 1 to 65535",
    ("stats", "-P", "65536"): "port must be from 1 to 65535",
    ("stats", "-P", "x"): "'x' is not a whole number",
    ("stats", "--connect-timeout", "-1"): "0 seconds or more",
    ("stats", "--connect-timeout", "nan"): "0 seconds or more",
    ("stats", "--connect-timeout", "inf"): "0 seconds or more",
    ("stats", "--connect-timeout", "x"): "invalid seconds value: 'x'",
}


@pytest.mark.parametrize("words", WRONG, ids=lambda words: " ".join(words)[:40])
def test_wrong_usage_is_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert WRONG[words] in error_of(capsys, *words)


def test_put_opens_the_file_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "jobs"
    file.write_bytes(b"a\n")
    with parse("put", "--lines", str(file)).input as opened:
        assert opened.read() == b"a\n"


@pytest.mark.parametrize("words", [["put", "-"], ["put", "--lines", "-"]])
def test_put_takes_standard_input(words: list[str]) -> None:
    with parse(*words).input as opened:
        assert opened.fileno() == 0


VERBS = [
    "put",
    "reserve",
    "reserve-job",
    "peek",
    "peek-ready",
    "peek-delayed",
    "peek-buried",
    "delete",
    "kick",
    "kick-job",
    "stats",
    "stats-job",
    "stats-tube",
    "list",
    "list-tubes",
    "pause",
]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(verb, "-h")
    assert caught.value.code == 0
    # list-tubes is an old name of list.
    assert f"usage: beanstalkt {verb.removesuffix('-tubes')} " in capsys.readouterr().out


def test_the_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    out = capsys.readouterr().out
    for verb in [*VERBS, "work", "serve"]:
        assert verb in out


@pytest.fixture
def module() -> Iterator[str]:
    """A module that brings its own arguments, as the worker and the server do."""
    name = "beanstalkt_arguments_of_a_test"
    made = ModuleType(name)

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--tube", required=True)

    made.__dict__.update(add_arguments=add_arguments, main=lambda options: 7)
    sys.modules[name] = made
    yield name
    del sys.modules[name]


def test_a_module_brings_its_arguments_and_its_main(module: str) -> None:
    options = arguments.Parser(module=module).parse_args(["--tube", "t"])
    assert options.tube == "t"
    assert options.main(options) == 7


def test_a_module_is_not_imported_before_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    parser = arguments.Parser(module="beanstalkt_no_such_module")
    with pytest.raises(SystemExit) as caught:
        parser.parse_args([])
    assert caught.value.code == 2
    assert "not in this installation" in capsys.readouterr().err
