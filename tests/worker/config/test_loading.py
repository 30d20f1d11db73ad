"""The configuration: what wins, and what is wrong where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.worker.config import ini
from beanstalkt.worker.config.loading import ConfigError, Flags, load
from beanstalkt.worker.config.settings import Settings, TubeSettings
from beanstalkt.worker.handlers.base import Handler, Option, WorkerJob
from beanstalkt.worker.handlers.command.handler import CommandHandler
from beanstalkt.worker.policy.decision import BURY, DELETE, RELEASE, Action, Policy, Verb
from beanstalkt.worker.policy.outcome import SUCCESS, Outcome
from beanstalkt.worker.policy.retry import Backoff
from beanstalkt.worker.process.environment import JOB_VARIABLES, job_environment

from ...support.work import make_work

EXEC = {"command": "cat"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "work.ini"


def read(
    file: Path, text: str, environ: Mapping[str, str] | None = None, **flags: Any
) -> Settings:
    file.write_text(text)
    return load(Flags(config=str(file), **flags), environ or {}, (CommandHandler,))


def problems(
    file: Path, text: str, environ: Mapping[str, str] | None = None, **flags: Any
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(file, text, environ, **flags)
    return [problem.replace(str(file), "FILE") for problem in caught.value.problems]


# --- the file --------------------------------------------------------------------------------


def test_the_old_file_of_bean_dispensers_kind(file: Path) -> None:
    settings = read(
        file,
        """
[connection]
host=localhost
port=11300

[tube:foo]
workers=3
command=/path/to/command
on_timeout=bury
on_temporary_fail=release
on_permanent_fail=delete
on_unknown_fail=bury

[pool:bar]
workers=5
command=/path/to/command
""",
    )
    assert settings.server == "beanstalk://localhost:11300"
    foo, bar = settings.tubes
    assert (foo.tube, foo.workers, bar.tube, bar.workers) == ("foo", 3, "bar", 5)
    assert foo.values["command"] == ("/path/to/command",)
    assert foo.policy == Policy(BURY, RELEASE, DELETE, BURY)
    assert bar.policy == Policy(RELEASE, BURY, BURY, BURY)


def test_everything_in_a_file(file: Path) -> None:
    settings = read(
        file,
        """\
# a comment
[connection]
server = beanstalks://queue.example.com:11301
[DEFAULT]
delay = 5
max_attempts = 4
[tube:a]
; another
command: php 'my worker.php'
    --verbose
workers = 2
timeout = 1.5
kill_grace = 0
max_attempts = 0
on_exit_75 = release:300
on_exit_3 = delete
backoff = exponential
max_delay = 100
pass_tube = yes
show_output = yes
""",
    )
    assert settings.server == "beanstalks://queue.example.com:11301"
    assert settings.tubes == (
        TubeSettings(
            "a",
            CommandHandler,
            {
                "command": ("php", "my worker.php", "--verbose"),
                "pass_tube": True,
                "show_output": True,
            },
            2,
            1.5,
            0.0,
            Policy(
                on_exit=((3, DELETE), (75, Action(Verb.RELEASE, 300))),
                max_attempts=0,
                backoff=Backoff(5, True, 100),
            ),
        ),
    )


def test_defaults() -> None:
    tube = load(Flags(EXEC, ["mail"]), {}).tubes[0]
    assert (tube.workers, tube.timeout, tube.kill_grace) == (1, None, 5.0)
    assert tube.policy == Policy()
    assert load(Flags(EXEC, ["mail"]), {}).server == "beanstalk://localhost:11300"


def test_all_problems_are_told_at_once_with_their_lines(file: Path) -> None:
    found = problems(
        file,
        """\
[connection]
port = 0
prot = 1
[tube:a]
workers = many
command = 'x
on_exit_0 = bury
[tube:b]
nonsense
on_timeout = explode
[tube:-]
command = x
[tubes]
x = y
[tube:a]
command = x
command = y
""",
    )
    assert found == [
        "FILE:9: 'nonsense' is neither a [section] nor key = value",
        "FILE:15: [tube:a] stands in line 4 already",
        "FILE:17: command stands in line 16 already",
        "FILE:3: prot: unknown key",
        "FILE:11: bad tube name '-': use 1 to 200 of the characters A-Z a-z 0-9 "
        "- + / ; . $ _ ( ), not beginning with '-'",
        "FILE:13: [tubes] is not a section that this file may have",
        "FILE:15: tube a has a section already",
        "FILE:2: port: a whole number from 1 to 65535 is expected, not '0'",
        "FILE:8: tube b: it does not say what to run: give command (--exec)",
        "FILE:10: on_timeout: bury, delete, release or release:SECONDS is expected, not 'explode'",
    ]


def test_wrong_values_of_a_tube(file: Path) -> None:
    found = problems(
        file, "[tube:a]\nworkers=many\ncommand='x\non_exit_0=bury\nexclude=b\non_exit=3\n"
    )
    assert found == [
        "FILE:5: exclude: unknown key",
        "FILE:2: workers: a whole number from 1 to 10000 is expected, not 'many'",
        "FILE:4: on_exit_0: an exit status from 1 to 255 is expected, not '0'",
        "FILE:6: on_exit: CODE=ACTION is expected, such as 75=release:300, not '3'",
        'FILE:3: command: No closing quotation, not "\'x"',
    ]


def test_a_wrong_default_is_told_once(file: Path) -> None:
    text = "[DEFAULT]\ndelay=x\n[tube:a]\ncommand=x\n[tube:b]\ncommand=x\n"
    assert len(problems(file, text)) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no tube: give --tube NAME, or --config FILE with a [tube:NAME] in it"),
        ("a = b\n[tube:a]\ncommand=x\n", "FILE:1: a stands before the first [section]"),
        ("[connection]\nserver = http://x\n[tube:a]\ncommand=x\n", "FILE:2: server: bad URL"),
        ("[connection]\nserver = unix:///x\nport = 1\n[tube:a]\ncommand=x\n", "FILE:3: port"),
        ("[connection]\nhost =\n[tube:a]\ncommand=x\n", "FILE:2: host: the host must be"),
        ("[tube:]\ncommand=x\n", "FILE:1: bad tube name ''"),
    ],
)
def test_single_problems(file: Path, text: str, problem: str) -> None:
    found = problems(file, text)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "missing", "No such file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(ConfigError, match=reason):
            load(Flags(config=str(path)), {})
    (tmp_path / "binary").write_bytes(b"\xff\0")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(Flags(config=str(tmp_path / "binary")), {})


@given(st.text())
def test_any_text_is_a_file(text: str) -> None:
    sections, found = ini.parse(text)
    count = text.count("\n") + 1
    for number, message in found:
        assert 1 <= number <= count
        assert message
    for section in sections:
        assert all(key == key.strip().lower() and key for key in section.entries)


def test_a_handlers_own_section_keeps_the_case_of_its_keys() -> None:
    sections, _ = ini.parse("[dispatch]\nSendMail = a.b\n[tube:a]\nWorkers = 2\n", {"dispatch"})
    assert [list(section.entries) for section in sections] == [["SendMail"], ["workers"]]


def test_line_ends_of_another_system_and_a_byte_order_mark(file: Path) -> None:
    file.write_bytes("\ufeff[tube:a]\r\ncommand = cat\r\n".encode())
    assert load(Flags(config=str(file)), {}).tubes[0].values["command"] == ("cat",)


# --- precedence ------------------------------------------------------------------------------


def test_flags_beat_the_environment_which_beats_the_file(file: Path) -> None:
    text = "[DEFAULT]\ntimeout=1\n[tube:a]\ncommand=x\ntimeout=2\n"
    environ = {"BEANSTALKT_TIMEOUT": "3"}
    assert read(file, "[DEFAULT]\ntimeout=1\n[tube:a]\ncommand=x\n").tubes[0].timeout == 1
    assert read(file, text).tubes[0].timeout == 2
    assert read(file, text, environ).tubes[0].timeout == 3
    assert read(file, text, environ, options={"timeout": "4"}).tubes[0].timeout == 4


def test_the_server_too(file: Path) -> None:
    text = "[connection]\nserver = beanstalk://file\n[tube:a]\ncommand=x\n"
    environ = {"BEANSTALKD_URL": "unix:///environment"}
    assert read(file, text).server == "beanstalk://file:11300"
    assert read(file, text, environ).server == "unix:///environment"
    assert read(file, text, environ, server="beanstalk://flag:1").server == "beanstalk://flag:1"
    assert read(file, text, {"BEANSTALKD_URL": ""}).server == "beanstalk://file:11300"


def test_it_is_told_what_has_named_the_server(file: Path) -> None:
    tube = "[tube:a]\ncommand=x\n"
    text = "[connection]\nhost = file\n" + tube
    environ = {"BEANSTALKD_URL": "unix:///environment"}
    ignored = f" (not {file}:2: host)"
    assert read(file, tube).server_place == "the default"
    assert read(file, text).server_place == f"{file}:2: host"
    assert read(file, tube, environ).server_place == "BEANSTALKD_URL"
    assert read(file, text, environ).server_place == "BEANSTALKD_URL" + ignored
    flagged = read(file, text, environ, server="beanstalk://flag:1")
    assert flagged.server_place == "the command line" + ignored


def test_what_is_overruled_must_be_right_too(file: Path) -> None:
    text = "[tube:a]\ncommand=x\ntimeout=x\n"
    assert len(problems(file, text, {}, options={"timeout": "4"})) == 1


def test_problems_of_flags_and_variables_name_them() -> None:
    flags = Flags({**EXEC, "timeout": "x", "on_exit": "75"}, ["a b", "c:0", "d", "d"])
    environ = {"BEANSTALKT_DELAY": "x", "BEANSTALKD_URL": "nowhere", "BEANSTALKT_ON_EXIT": "1=x"}
    with pytest.raises(ConfigError) as caught:
        load(flags, environ)
    places = [problem.split(":")[0] for problem in caught.value.problems]
    assert sorted(places) == sorted(
        [
            "BEANSTALKD_URL",
            "--tube",
            "--tube",
            "--tube",
            "BEANSTALKT_DELAY",
            "--timeout",
            "BEANSTALKT_ON_EXIT",
            "--on-exit",
        ]
    )


def test_options_of_the_run_are_no_keys_of_the_file(file: Path) -> None:
    run = load(Flags({**EXEC, "burst": "yes"}, ["a"]), {"BEANSTALKT_MAX_JOBS": "3"}).run
    assert (run["burst"], run["max_jobs"], run["log_format"]) == (True, 3, "text")
    assert problems(file, "[tube:a]\ncommand=x\nburst=yes\n") == ["FILE:3: burst: unknown key"]


def test_a_flag_of_a_handler_that_no_tube_has(file: Path) -> None:
    call = {"call": "os:getpid", "show_output": "yes", "pass_tube": "yes"}
    refused = [
        "--show-output: it goes with --exec, which no tube has",
        "--pass-tube: it goes with --exec, which no tube has",
    ]
    with pytest.raises(ConfigError) as caught:
        load(Flags(call, ["a"]), {})
    assert sorted(caught.value.problems) == sorted(refused)
    # One tube of several is enough, and a variable may be meant for another runner.
    file.write_text("[tube:a]\ncall=os:getpid\n[tube:b]\ncommand=x\n")
    load(Flags({"show_output": "yes"}, config=str(file)), {})
    load(Flags({"call": "os:getpid"}, ["a"]), {"BEANSTALKT_SHOW_OUTPUT": "yes"})
    # Where a tube has no handler, that alone is told.
    (problem,) = problems(file, "[tube:a]\n", options={"show_output": "yes"})
    assert "it does not say what to run" in problem


def test_without_a_tube_all_else_is_told_too(file: Path) -> None:
    environ = {
        "BEANSTALKT_BURST": "maybe",
        "BEANSTALKT_TIMEOUT": "0",
        "BEANSTALKT_EXEC": "'",
        "BEANSTALKT_ON_EXIT": "x",
    }
    assert sorted(problem.split(":")[0] for problem in problems(file, "", environ)) == [
        "BEANSTALKT_BURST",
        "BEANSTALKT_EXEC",
        "BEANSTALKT_ON_EXIT",
        "BEANSTALKT_TIMEOUT",
        "no tube",
    ]


def test_a_file_that_cannot_be_read_is_not_all_that_is_told() -> None:
    flags = Flags(config="/no/such", config_place="BEANSTALKT_CONFIG")
    with pytest.raises(ConfigError) as caught:
        load(flags, {"BEANSTALKT_DELAY": "x"})
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "BEANSTALKT_CONFIG",
        "BEANSTALKT_DELAY",
    ]


def test_a_command_that_cannot_run_is_told_with_all_else(file: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    file.write_text(
        "[connection]\nport=x\n"
        "[tube:a]\ncommand=/no/such\nworkers=many\n"
        f"[tube:b]\ncommand={tmp_path}/text\n"
        "[tube:c]\ncommand=cat\n"
        "[tube:*]\ncommand=\n"
    )
    flags = Flags(config=str(file))
    with pytest.raises(ConfigError) as caught:
        load(flags, {"BEANSTALKT_LOG_FORMAT": "xml"}, check=True)
    assert [problem.removeprefix(f"{file}:") for problem in caught.value.problems] == [
        "2: port: a whole number from 1 to 65535 is expected, not 'x'",
        "5: workers: a whole number from 1 to 10000 is expected, not 'many'",
        "4: command: the command /no/such cannot be found",
        f"7: command: the command {tmp_path}/text is not executable",
        "11: command: a command is expected, not ''",
        "BEANSTALKT_LOG_FORMAT: one of text, json is expected, not 'xml'",
    ]


@pytest.mark.parametrize("place", ["--exec", "BEANSTALKT_EXEC"])
def test_a_command_for_many_tubes_is_told_once_with_its_place(file: Path, place: str) -> None:
    file.write_text("[tube:a]\n[tube:b]\ncommand=cat\n")
    command = "/no/such"
    flags = Flags({"command": command} if place == "--exec" else {}, config=str(file))
    environ = {} if place == "--exec" else {"BEANSTALKT_EXEC": command}
    load(flags, environ)
    with pytest.raises(ConfigError) as caught:
        load(flags, environ, check=True)
    assert caught.value.problems == (f"{place}: the command /no/such cannot be found",)


def test_variables_of_a_job_are_no_configuration() -> None:
    environ = {"BEANSTALKT_TUBE": "x", "BEANSTALKT_SLOT": "?", "BEANSTALKT_EXEC": "cat"}
    assert load(Flags(tubes=["mail"]), environ).tubes[0].tube == "mail"


def test_what_a_command_was_told_of_its_job_is_no_configuration(file: Path) -> None:
    """A runner that is started by the command of another runner's job."""
    told = {
        name: value.decode()
        for name, value in names_of(job_environment(make_work(outbox_id=12), {})).items()
    }
    assert told.keys() == JOB_VARIABLES
    text = "[tube:a]\ncommand=x\nmax_attempts=7\n"
    alone = {"BEANSTALKT_MAX_ATTEMPTS": "4", "BEANSTALKT_DELAY": "1"}
    assert read(file, text, alone).tubes[0].policy.max_attempts == 4
    assert read(file, text, {**alone, "BEANSTALKT_JOB_ID": ""}).tubes[0].policy.max_attempts == 4
    policy = read(file, text, {**told, "BEANSTALKT_DELAY": "1"}).tubes[0].policy
    assert policy.max_attempts == 7
    # What the command itself sets is configuration, and so is every flag.
    assert policy.backoff.delay == 1
    assert read(file, text, told, options={"max_attempts": "2"}).tubes[0].policy.max_attempts == 2


def names_of(environ: Mapping[bytes, bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in environ.items()}


def test_single_exit_statuses_add_up(file: Path) -> None:
    text = "[tube:a]\ncommand=x\non_exit_3=bury\non_exit_4=bury\n"
    tube = read(file, text, {}, options={"on_exit": "4=delete 5=release:1"}).tubes[0]
    assert tube.policy.on_exit == ((3, BURY), (4, DELETE), (5, Action(Verb.RELEASE, 1)))


# --- tubes -----------------------------------------------------------------------------------


def test_tubes_on_the_command_line() -> None:
    settings = load(Flags({**EXEC, "workers": "4"}, ["a:2", "b"]), {})
    assert [(tube.tube, tube.workers) for tube in settings.tubes] == [("a", 2), ("b", 4)]


def test_tubes_on_the_command_line_choose_among_those_of_the_file(file: Path) -> None:
    text = "[tube:a]\ncommand=x\nworkers=2\n[tube:b]\ncommand=y\nworkers=3\n"
    settings = read(file, text, {}, tubes=["b", "c:9"], options=EXEC)
    assert [(tube.tube, tube.workers) for tube in settings.tubes] == [("b", 3), ("c", 9)]


def test_all_tubes(file: Path) -> None:
    tube = load(Flags(EXEC, all_tubes=True, exclude=["tmp.*", "x"]), {}).tubes[0]
    assert (tube.tube, tube.exclude) == ("*", ("tmp.*", "x"))
    tube = read(file, "[tube:*]\ncommand=x\nexclude = a* b\n").tubes[0]
    assert (tube.tube, tube.exclude) == ("*", ("a*", "b"))


def test_exclude_needs_all_tubes() -> None:
    with pytest.raises(ConfigError, match="goes with --all-tubes"):
        load(Flags(EXEC, ["a"], exclude=["b"]), {})


# --- handlers --------------------------------------------------------------------------------


class OtherHandler(Handler):
    """One with a section of its own, and with other defaults."""

    options = (
        Option("other", str, "", selects=True),
        Option("colour", str, "", default="red"),
        Option("size", int, ""),
    )
    defaults = {"on_temporary_fail": RELEASE, "max_attempts": 5}  # noqa: RUF012
    sections = ("paint",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)

    @classmethod
    def from_options(cls, values: Mapping[str, Any]) -> OtherHandler:
        if values["colour"] == "none":
            raise ValueError("a colour is needed")
        return cls(values)

    def describe(self) -> str:
        return "other"

    async def run(self, work: WorkerJob) -> Outcome:
        return SUCCESS


HANDLERS = (CommandHandler, OtherHandler)


def load_both(file: Path, text: str, **flags: Any) -> Settings:
    file.write_text(text)
    return load(Flags(config=str(file), **flags), {}, HANDLERS)


def test_a_handler_of_another_kind(file: Path) -> None:
    settings = load_both(
        file, "[paint]\nA = b\n[tube:a]\nother=x\nworkers=3\n[tube:b]\ncommand=cat\n"
    )
    a, b = settings.tubes
    handler = a.make_handler()
    assert isinstance(handler, OtherHandler)
    assert handler.values == {"other": "x", "colour": "red", "paint": {"A": "b"}}
    assert a.workers == 3
    assert a.policy == Policy(on_temporary_fail=RELEASE, max_attempts=5)
    assert b.policy == Policy()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[tube:a]\nother=x\ncommand=y\n", "one tube cannot have command and other"),
        ("[tube:a]\nother=x\npass_tube=yes\n", ":3: pass_tube: it does not go with"),
        ("[tube:a]\nother=x\ncolour=none\n", "tube a: a colour is needed"),
        ("[tube:a]\nother=x\nsize=big\n", ":3: size: "),
        ("[tube:a]\ncolour=x\n", "give command .--exec., other .--other."),
    ],
)
def test_handlers_and_their_options(file: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        load_both(file, text)
    assert len(caught.value.problems) == 1


def test_a_flag_gives_every_tube_its_handler(file: Path) -> None:
    settings = load_both(file, "[tube:a]\nother=x\n[tube:b]\ncommand=y\n", options={"other": "z"})
    assert [tube.handler for tube in settings.tubes] == [OtherHandler, OtherHandler]
    assert [tube.values["other"] for tube in settings.tubes] == ["z", "z"]


def test_settings_that_say_the_same_are_equal(file: Path) -> None:
    text = "[tube:a]\ncommand=x y\n[tube:b]\ncommand=x\n"
    assert read(file, text) == read(file, "# changed\n" + text)
    assert read(file, text) != read(file, text + "delay=1\n")
