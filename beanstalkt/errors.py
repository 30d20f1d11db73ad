"""The exceptions: everything that the package raises by itself, as one tree.

::

    BeanstalkException
    ├── ConnectionLost (also ConnectionError)     .sent
    │   └── ReservationLost                       the job was reserved on a connection that is gone
    ├── InvalidArgument (also ValueError)
    ├── UnexpectedResponse                        no reply that the command can get
    ├── CommandFailed                             the server refused the command
    │   ├── NotFound  NotIgnored  JobTooBig  Draining  OutOfMemory
    │   └── BadFormat  ExpectedCrlf  InternalError  UnknownCommand
    ├── Buried                                    in reply to put or release    .job_id
    ├── TimedOut (also TimeoutError)
    └── DeadlineSoon
"""

from __future__ import annotations

from typing import Any


class BeanstalkException(Exception):
    """Serve as the base of every exception of the package.

    :ivar command: the protocol's verb, such as ``"put"``; None if no command was concerned
    :ivar status: the first word of the server's reply; None if there was no reply
    :ivar values: the other words of the reply
    :ivar ids: set by ``put_many`` only: the id of each body that was taken, in order; None for a
        body that the server refused, or may or may not have accepted
    :ivar server: set by a pool only, for a put, and where a server cannot be reached: its name
    """

    # A pool's ids are str; Any, because a list of ints is no list of ints or strs.
    ids: list[Any] | None = None
    server: str | None = None

    def __init__(
        self,
        message: str = "",
        *,
        command: str | None = None,
        status: str | None = None,
        values: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.command = command
        self.status = status
        self.values = values


class ConnectionLost(BeanstalkException, ConnectionError):
    """Report that the connection was lost, or that there was none.

    :ivar sent: whether any byte of the command was handed to the socket. False means that the
        server cannot have seen the command; True means that it may have carried it out.
    """

    def __init__(
        self, message: str = "", *, command: str | None = None, sent: bool = False
    ) -> None:
        super().__init__(message, command=command)
        self.sent = sent


class ReservationLost(ConnectionLost):
    """Report that a job was reserved on a connection that has been lost since.

    The server gave the job back to its tube then. Nothing was sent: after a restart of the
    server, the same id may belong to another job.
    """


class InvalidArgument(BeanstalkException, ValueError):
    """Report an argument that was refused before anything was sent."""


class UnexpectedResponse(BeanstalkException):
    """Report a reply that the command cannot get; its connection has been closed."""


class CommandFailed(BeanstalkException):
    """Report that the server refused the command."""


class NotFound(CommandFailed):
    """Report a job or tube that does not exist, or a job in the wrong state for the command.

    A job that is reserved by another connection counts as not found.
    """


class NotIgnored(CommandFailed):
    """Report that the only tube that a connection watches cannot be ignored."""


class JobTooBig(CommandFailed):
    """Report a body that is larger than the server's ``max-job-size``."""


class Draining(CommandFailed):
    """Report that the server takes no new jobs, because it is in drain mode."""


class OutOfMemory(CommandFailed):
    """Report that the server has no memory, or no room in its binlog, for the command."""


class BadFormat(CommandFailed):
    """Report that the server could not read the command line."""


class ExpectedCrlf(CommandFailed):
    """Report that the server did not find the end of a body where it was announced."""


class InternalError(CommandFailed):
    """Report a fault inside the server."""


class UnknownCommand(CommandFailed):
    """Report that the server does not know the verb, because it is older than the command."""


class Buried(BeanstalkException):
    """Report that the server ran out of memory in a put or a release, and buried the job.

    :ivar job_id: the id of the buried job; None if the reply does not have it
    """

    job_id: Any = None  # int | None, or the str of a pool


class TimedOut(BeanstalkException, TimeoutError):
    """Report that no job became ready within the timeout of a reserve."""


class DeadlineSoon(BeanstalkException):
    """Report that a job which this connection holds has less than a second left.

    Settle or touch that job. Until then every reserve gets this reply at once: wait a little
    before the next one.
    """
