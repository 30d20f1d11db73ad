"""What the command line accepts, and what it refuses before anything is sent."""

from __future__ import annotations

import argparse
import io
import sys
from types import ModuleType

import pytest

from beanstalkt.cli.parser import parse
from beanstalkt.cli.verbs import GROUPS, Verb


def error_of(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The line that refuses wrong usage."""
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    assert caught.value.code == 2
    written = capsys.readouterr()
    assert not written.out
    return written.err.splitlines()[-1]


WRONG = {
    (): "which verb? beanstalkt -h lists them",
    ("eat",): "invalid choice: 'eat'",
    ("put",): "either a body",
    ("put", "a", "--lines", "b"): "either a body",
    ("put", "a", "b"): "unrecognized arguments: b: a body with spaces is one argument, in quotes",
    ("pause", "a", "5"): "unrecognized arguments: 5: how long is given with -d",
    ("peek-ready", "a"): "unrecognized arguments: a: a tube is given with -u",
    ("put", "a", "--nonsense"): "unrecognized arguments: --nonsense",
    ("put", "a", "-p", "1.5"): "'1.5' is not a whole number",
    ("put", "a", "-p", "-1"): "priority must be from 0 to 4294967295",
    ("put", "a", "-p", "4294967296"): "priority must be from 0 to 4294967295",
    ("put", "a", "-p", "9" * 1000): "priority must be from 0 to 4294967295",
    ("put", "a", "-p", "9" * 5000): "is not a whole number",
    ("put", "a", "-p", ""): "'' is not a whole number",
    ("put", "a", "-p", "1_0"): "'1_0' is not a whole number",
    ("put", "a", "-p", "٣"): "is not a whole number",
    (
        "put",
        "a",
        "-d",
        "x",
    ): "'x' is not a duration: write a number of seconds, or such as 90, 5m or 1h30m",
    ("put", "a", "-t", "-"): "'-' is not a duration",
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
    ("delete",): "give the ids of jobs",
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
    ("-P", "1", "serve"): "serve connects to no server",
    ("stats", "-P", "0"): "port must be from 1 to 65535",
    ("stats", "-P", "65536"): "port must be from 1 to 65535",
    ("stats", "-P", "x"): "'x' is not a whole number",
    ("stats", "--connect-timeout", "-1"): "'-1' is not a duration",
    ("stats", "--connect-timeout", "nan"): "'nan' is not a duration",
    ("stats", "--connect-timeout", "inf"): "'inf' is not a duration",
    ("stats", "--connect-timeout", "x"): "'x' is not a duration",
    ("stats", "--timeout", "0"): "more than 0 seconds",
    ("stats", "--timeout", "-1"): "'-1' is not a duration",
    ("--timeout", "x", "stats"): "'x' is not a duration",
    ("--timeout", "1", "serve"): "serve connects to no server",
    ("--timeout", "1", "work", "--tube", "t", "--exec", "cat"): "work has a --timeout of its own",
    ("put", "a", "-d", "1.5"): "'1.5' is not a whole number of seconds",
    ("put", "a", "-t", "30m1h"): "'30m1h' is not a duration",
    ("pause", "t", "-d", "5x"): "'5x' is not a duration",
    ("-p", "21300", "stats"): "was -P 21300 meant, the port?",
    ("-p21300", "stats"): "was -P 21300 meant, the port?",
    ("stats", "-p", "21300"): "unrecognized arguments: -p 21300: was -P meant, the port?",
    ("completion", "tcsh"): "invalid choice: 'tcsh'",
    ("stats", "-H", "localhost:11300"): "to Client.from_url (--server, or server = in a file)",
}


@pytest.mark.parametrize("words", WRONG, ids=lambda words: " ".join(words)[:40])
def test_wrong_usage_is_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert WRONG[words] in error_of(capsys, *words)


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
        parse([verb, "-h"])
    assert caught.value.code == 0
    assert f"usage: beanstalkt {verb} " in capsys.readouterr().out


@pytest.mark.parametrize("verb", [*(verb for verbs in GROUPS.values() for verb in verbs), ""])
def test_the_help_fits_the_terminal(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        parse([*verb.split(), "-h"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 60 and not line.startswith(" ")] == []


def test_the_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    out = capsys.readouterr().out
    for verb in [*VERBS, "work", "serve"]:
        assert verb in out


@pytest.mark.parametrize("words", [["--help"], ["put", "--help"], ["--version"]])
def test_help_that_cannot_be_written_is_an_error(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where standard output is not buffered, so that the write itself fails."""
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with io.TextIOWrapper(full, write_through=True) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(OSError, match="standard output"):
            parse(words)
        monkeypatch.undo()


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> dict[str, Verb]:
    """The verbs of one more group, "extra", whose module holds what the test puts here."""
    made = ModuleType("beanstalkt.cli.extra")
    verbs: dict[str, Verb] = {}
    made.__dict__["VERBS"] = verbs
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setitem(GROUPS, "extra", {"dig": "dig for jobs"})
    return verbs


def test_a_verb_brings_its_arguments_its_check_and_its_run(
    group: dict[str, Verb], capsys: pytest.CaptureFixture[str]
) -> None:
    def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
        if options.deep < 0:
            parser.error("too high")
        options.deep *= 2

    group["dig"] = Verb(
        lambda options: options.deep,
        lambda parser: parser.set_defaults(deep=parser.add_argument("deep", type=int).default),
        check,
        description="Dig, and dig again.",
        epilog="example:\n  dig 7",
    )
    options = parse(["-P", "1", "dig", "7"])
    assert options.run(options) == 14
    assert options.server == "beanstalk://localhost:1"
    assert "too high" in error_of(capsys, "dig", "--", "-1")
    with pytest.raises(SystemExit):
        parse(["dig", "-h"])
    out = capsys.readouterr().out
    assert "Dig, and dig again." in out
    assert "example:\n  dig 7" in out
    assert "--server" in out


def test_a_verb_that_connects_to_no_server_takes_none(
    group: dict[str, Verb], capsys: pytest.CaptureFixture[str]
) -> None:
    group["dig"] = Verb(lambda options: 7, connects=False)
    options = parse(["dig"])
    assert options.run(options) == 7
    assert "dig connects to no server" in error_of(capsys, "-P", "1", "dig")
    assert "unrecognized arguments: -P 1" in error_of(capsys, "dig", "-P", "1")


def test_what_is_not_installed_is_missed_only_when_it_is_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GROUPS, "no_such_module", {"dig": "dig for jobs"})
    assert parse(["stats"]).verb == "stats"
    missing = "needs the package beanstalkt.cli.no_such_module, which is not installed"
    assert f"dig {missing}" in error_of(capsys, "dig")


@pytest.mark.parametrize(
    ("verb", "package", "extra"),
    [("metrics", "prometheus_client", "metrics"), ("outbox", "sqlalchemy", "sql")],
)
def test_a_verb_names_the_package_and_the_extra_that_it_needs(
    verb: str,
    package: str,
    extra: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: str) -> Verb:
        raise ModuleNotFoundError(name=package)

    monkeypatch.setattr("beanstalkt.cli.parser.load", fail)
    message = f"{verb} needs the package {package}: pip install 'beanstalkt[{extra}]'"
    assert message in error_of(capsys, verb)


def test_durations_are_taken_wherever_seconds_are_asked_for() -> None:
    assert parse(["put", "x", "-t", "5m", "-d", "1h30m"]).ttr == 300
    assert parse(["put", "x", "-t", "5m", "-d", "1h30m"]).delay == 5400
    assert parse(["reserve", "-t", "2m"]).timeout == 120
    assert parse(["reserve", "release", "-d", "2m"]).delay == 120
    assert parse(["pause", "t", "-d", "1d"]).delay == 86_400
    options = parse(["--connect-timeout", "1m", "stats", "--timeout", "500ms"])
    assert (options.connect_timeout, options.response_timeout) == (60, 0.5)


def test_the_time_for_a_reply_is_5_seconds_unless_it_is_given() -> None:
    assert parse(["stats"]).response_timeout == 5
    assert parse(["--timeout", "7", "stats"]).response_timeout == 7
    assert parse(["--timeout", "7", "stats", "--timeout", "8"]).response_timeout == 8
    # The reserve has a timeout of its own.
    options = parse(["--timeout", "7", "reserve", "--timeout", "8"])
    assert (options.response_timeout, options.timeout) == (7, 8)
