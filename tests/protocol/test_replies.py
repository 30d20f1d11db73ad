"""The replies other than success: which error each of them is to which command."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt import errors
from beanstalkt.protocol.commands import COMMANDS, PUT, Command
from beanstalkt.protocol.replies import MIN_PUT_REPLY, refusal, unexpected

KINDS = {
    b"NOT_FOUND": errors.NotFound,
    b"NOT_IGNORED": errors.NotIgnored,
    b"JOB_TOO_BIG": errors.JobTooBig,
    b"DRAINING": errors.Draining,
    b"OUT_OF_MEMORY": errors.OutOfMemory,
    b"BAD_FORMAT": errors.BadFormat,
    b"EXPECTED_CRLF": errors.ExpectedCrlf,
    b"INTERNAL_ERROR": errors.InternalError,
    b"UNKNOWN_COMMAND": errors.UnknownCommand,
    b"BURIED": errors.Buried,
    b"TIMED_OUT": errors.TimedOut,
    b"DEADLINE_SOON": errors.DeadlineSoon,
}
EVERYWHERE = {b"OUT_OF_MEMORY", b"INTERNAL_ERROR", b"BAD_FORMAT", b"UNKNOWN_COMMAND"}
REFUSALS = {
    "put": {b"BURIED", b"EXPECTED_CRLF", b"JOB_TOO_BIG", b"DRAINING"},
    "reserve": {b"TIMED_OUT", b"DEADLINE_SOON"},
    "reserve-with-timeout": {b"TIMED_OUT", b"DEADLINE_SOON"},
    "reserve-job": {b"NOT_FOUND"},
    "delete": {b"NOT_FOUND"},
    "release": {b"NOT_FOUND", b"BURIED"},
    "bury": {b"NOT_FOUND"},
    "touch": {b"NOT_FOUND"},
    "ignore": {b"NOT_IGNORED"},
    "peek": {b"NOT_FOUND"},
    "peek-ready": {b"NOT_FOUND"},
    "peek-delayed": {b"NOT_FOUND"},
    "peek-buried": {b"NOT_FOUND"},
    "kick-job": {b"NOT_FOUND"},
    "stats-job": {b"NOT_FOUND"},
    "stats-tube": {b"NOT_FOUND"},
    "pause-tube": {b"NOT_FOUND"},
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("status", [*KINDS, b"INSERTED", b"WATCHING", b"OK", b"", b"not_found"])
def test_what_every_status_means_to_every_command(command: Command, status: bytes) -> None:
    if status == command.success:
        return
    error = refusal(command, [status])
    if status in EVERYWHERE | REFUSALS.get(command.verb, set()):
        assert type(error) is KINDS[status]
    else:
        assert type(error) is errors.UnexpectedResponse
    assert error.command == command.verb
    assert error.status == status.decode()
    assert error.values == ()
    assert command.verb in str(error)


def test_buried_tells_the_job() -> None:
    error = refusal(COMMANDS["put"], [b"BURIED", b"17"])
    assert isinstance(error, errors.Buried)
    assert error.job_id == 17
    assert error.values == ("17",)


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("delete", "the job does not exist, is in the wrong state, or is reserved by another"),
        ("release", "the job does not exist, is in the wrong state, or is reserved by another"),
        (
            "reserve-job",
            "the job does not exist, is in the wrong state, or is reserved by another",
        ),
        ("stats-tube", "the tube does not exist"),
        ("pause-tube", "the tube does not exist"),
        ("peek-ready", "the tube has no job in this state"),
    ],
)
def test_not_found_tells_what_was_not_found(verb: str, message: str) -> None:
    error = refusal(COMMANDS[verb], [b"NOT_FOUND"])
    assert str(error).startswith(f"{verb}: NOT_FOUND: {message}")


@pytest.mark.parametrize(
    ("verb", "subject", "message"),
    [
        ("delete", "99", "job 99 does not exist, is in the wrong state, or is reserved by"),
        ("kick-job", "99", "job 99 does not exist, is in the wrong state, or is reserved by"),
        ("stats-tube", "mail", "tube mail does not exist"),
        ("peek-buried", "mail", "tube mail has no job in this state"),
    ],
)
def test_not_found_names_what_the_command_was_about(verb: str, subject: str, message: str) -> None:
    error = refusal(COMMANDS[verb], [b"NOT_FOUND"], subject)
    assert str(error).startswith(f"{verb}: NOT_FOUND: {message}")


@pytest.mark.parametrize("verb", ["peek", "stats-job"])
def test_what_works_in_any_state_says_only_that_there_is_no_such_job(verb: str) -> None:
    error = refusal(COMMANDS[verb], [b"NOT_FOUND"], "99")
    assert str(error) == f"{verb}: NOT_FOUND: job 99 does not exist"


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_refusal_has_a_message(command: Command) -> None:
    for status in command.refusals | EVERYWHERE:
        message = str(refusal(command, [status]))
        assert message.removeprefix(f"{command.verb}: {status.decode()}: ").strip()
        assert not message.endswith(": ")


@given(st.binary(max_size=3000), st.sampled_from([None, *COMMANDS.values()]))
def test_an_unexpected_reply_of_any_bytes_is_told_in_short(
    line: bytes, command: Command | None
) -> None:
    error = unexpected(command, line.split(b" "))
    assert len(str(error)) < 300
    assert error.command == (command.verb if command else None)
    assert (command.verb if command else "no command was waiting") in str(error)


def test_no_reply_to_a_put_is_shorter_than_said() -> None:
    with_id = {PUT.success, b"BURIED"}
    lines = (PUT.refusals | EVERYWHERE) - with_id | {status + b" 1" for status in with_id}
    assert min(len(line + b"\r\n") for line in lines) == MIN_PUT_REPLY
