"""The exit statuses of the command line."""

from __future__ import annotations

from ..errors import BeanstalkException, ConnectionLost, InvalidArgument, UnexpectedResponse

DONE = 0
"""The command did what it was asked to do."""

REFUSED = 1
"""The server refused the command, or the system did: a file cannot be read, a port is taken."""

USAGE = 2
"""The command line, the environment or the configuration is wrong; nothing was sent."""

NO_SERVER = 69
"""The server cannot be reached, or the connection was lost (EX_UNAVAILABLE of sysexits.h).

With several servers: one of them; what could be done on the others was done."""

INTERRUPTED = 130
"""The user interrupted the command (the status that a shell reports for SIGINT)."""

PIPE_CLOSED = 141
"""The reader of standard output has gone (the status that a shell reports for SIGPIPE)."""


def exit_status_of(error: BeanstalkException) -> int:
    """Return the exit status of a command that ended with `error`."""
    if isinstance(error, InvalidArgument):
        return USAGE
    # A peer that does not speak the protocol is not a server either.
    return NO_SERVER if isinstance(error, (ConnectionLost, UnexpectedResponse)) else REFUSED
