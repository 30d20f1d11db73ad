"""Every exception of the package.

::

    BeanstalkException
    ├── ConnectionLost (also ConnectionError)     .sent
    │   └── ReservationLost                       the job was reserved on a connection that is gone
    ├── InvalidArgument (also ValueError)
    ├── UnexpectedResponse                        the reply fits no expectation
    ├── CommandFailed                             the server said no
    │   ├── NotFound  NotIgnored  JobTooBig  Draining  OutOfMemory
    │   └── BadFormat  ExpectedCrlf  InternalError  UnknownCommand
    ├── Buried                                    in reply to put or release    .job_id
    ├── TimedOut (also TimeoutError)
    └── DeadlineSoon
"""

from __future__ import annotations


class BeanstalkException(Exception):
    """The root of the tree.

    :ivar command: the protocol's verb, such as ``"put"``; None where no command was concerned
    :ivar status: the first word of the server's reply; None where there was no reply
    :ivar values: the other words of the reply
    :ivar ids: from ``put_many`` only: the ids of the bodies before the end came, in their order;
        None for a body that did not go in, or of which that is not known
    """

    ids: list[int | None] | None = None

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
    """The connection is gone, or there was none.

    :ivar sent: whether any byte of the command had been handed to the socket. False means that
        the server cannot have seen the command; True means that it may have carried it out.
    """

    def __init__(
        self, message: str = "", *, command: str | None = None, sent: bool = False
    ) -> None:
        super().__init__(message, command=command)
        self.sent = sent


class ReservationLost(ConnectionLost):
    """The job was reserved on a connection that is gone, so it is no longer ours.

    The server has given it back to its tube. Nothing was sent: after a restart of the server
    the id may stand for somebody else's job.
    """


class InvalidArgument(BeanstalkException, ValueError):
    """Refused before anything was sent: it would have broken the protocol."""


class UnexpectedResponse(BeanstalkException):
    """The reply fits no expectation. The connection it came on has been closed."""


class CommandFailed(BeanstalkException):
    """The server understood the connection, and said no to this command."""


class NotFound(CommandFailed):
    """No such job or tube, or the job is not in the state or the hands that it needs."""


class NotIgnored(CommandFailed):
    """The last tube watched cannot be ignored."""


class JobTooBig(CommandFailed):
    """The body is larger than the server's ``max-job-size``."""


class Draining(CommandFailed):
    """The server takes no new jobs: it is in drain mode."""


class OutOfMemory(CommandFailed):
    """The server has no memory, or no room in its binlog, for this."""


class BadFormat(CommandFailed):
    """The server could not read the command line."""


class ExpectedCrlf(CommandFailed):
    """The server did not find the end of the body where it was announced."""


class InternalError(CommandFailed):
    """A fault inside the server."""


class UnknownCommand(CommandFailed):
    """The server does not know the verb: it is older than the command."""


class Buried(BeanstalkException):
    """The server ran out of memory at a put or a release, and buried the job instead.

    :ivar job_id: the id of the buried job; None where the reply did not tell it
    """

    job_id: int | None = None


class TimedOut(BeanstalkException, TimeoutError):
    """No job came within the timeout of the reserve."""


class DeadlineSoon(BeanstalkException):
    """A job that this connection holds has less than a second left: settle or touch it.

    Every reserve is answered so while that lasts; one that repeats at once gets thousands of
    these replies, so wait a little.
    """
