"""The replies other than success: the error that each of them stands for (section 9)."""

from __future__ import annotations

from .. import errors
from .arguments import JOB_ID, TUBE, Number, TubeName
from .commands import PEEK, STATS_JOB, Command

MIN_PUT_REPLY = len(b"DRAINING\r\n")
"""The length of the shortest reply to a put, in bytes."""

_ANY_COMMAND = frozenset({b"OUT_OF_MEMORY", b"INTERNAL_ERROR", b"BAD_FORMAT", b"UNKNOWN_COMMAND"})
"""The statuses that can refuse any command (section 1.6)."""

_ERRORS: dict[bytes, tuple[type[errors.BeanstalkException], str]] = {
    b"NOT_FOUND": (errors.NotFound, ""),  # the hint depends on the command, see below
    b"NOT_IGNORED": (
        errors.NotIgnored,
        "this is the only tube that the connection watches: watch another one first",
    ),
    b"JOB_TOO_BIG": (
        errors.JobTooBig,
        "the body is larger than the server's max-job-size: put less, or start the server with "
        "a larger limit (beanstalkd -z)",
    ),
    b"DRAINING": (
        errors.Draining,
        "the server is in drain mode and takes no new jobs: put the job to another server, or "
        "try later",
    ),
    b"OUT_OF_MEMORY": (
        errors.OutOfMemory,
        "the server has no memory, or no room in its binlog, for this: try later",
    ),
    b"BAD_FORMAT": (errors.BadFormat, "the server could not read the command line"),
    b"EXPECTED_CRLF": (
        errors.ExpectedCrlf,
        "the server did not find the end of the body where it was announced",
    ),
    b"INTERNAL_ERROR": (
        errors.InternalError,
        "the server failed while it carried out the command: look into its log",
    ),
    b"UNKNOWN_COMMAND": (
        errors.UnknownCommand,
        "the server does not know this command: use a newer beanstalkd",
    ),
    b"BURIED": (
        errors.Buried,
        "the server ran out of memory and buried the job: kick it when there is memory again",
    ),
    b"TIMED_OUT": (errors.TimedOut, "no job became ready within the timeout"),
    b"DEADLINE_SOON": (
        errors.DeadlineSoon,
        "a job that this connection holds has less than a second left: settle or touch it, and "
        "wait a little before the next reserve",
    ),
}

_NOT_FOUND: dict[Number | TubeName, tuple[str, str]] = {
    JOB_ID: ("job", "does not exist, is in the wrong state, or is reserved by another connection"),
    TUBE: ("tube", "does not exist"),
}
"""What NOT_FOUND says of a command, by its first argument: what is missing, and why."""


def refusal(
    command: Command, words: list[bytes], subject: str | None = None
) -> errors.BeanstalkException:
    """Return the error for a reply to `command` whose status is not its success.

    :param subject: the id of the job or the name of the tube that the command was about
    """
    status = words[0]
    if status not in command.refusals and status not in _ANY_COMMAND:
        return unexpected(command, words)
    kind, hint = _ERRORS[status]
    if kind is errors.NotFound:
        hint = _not_found(command, subject)
    values = tuple(word.decode("latin-1") for word in words[1:])
    error = kind(
        f"{command.verb}: {status.decode()}: {hint}",
        command=command.verb,
        status=status.decode(),
        values=values,
    )
    if isinstance(error, errors.Buried) and values and values[0].isdecimal():
        error.job_id = int(values[0])
    return error


def _not_found(command: Command, subject: str | None) -> str:
    """Return what NOT_FOUND says of `command`, which was about `subject` if that is known."""
    noun, why = ("tube", "has no job in this state")
    if command in (PEEK, STATS_JOB):  # these work in any state, whoever has reserved the job
        noun, why = ("job", "does not exist")
    elif command.arguments:
        noun, why = _NOT_FOUND[command.arguments[0]]
    return f"the {noun} {why}" if subject is None else f"{noun} {subject} {why}"


def unexpected(command: Command | None, words: list[bytes]) -> errors.UnexpectedResponse:
    """Return the error for a reply that `command` cannot get.

    Without a command, it is the error for a reply that came while no command waited for one.
    """
    status, *values = [word.decode("latin-1") for word in words]
    verb = command.verb if command else None
    when = f"in reply to {verb}" if verb else "while no command was waiting for a reply"
    return errors.UnexpectedResponse(
        f"the server sent {b' '.join(words)!r:.200} {when}",
        command=verb,
        status=status,
        values=tuple(values),
    )
