"""When a put that failed on one server may go to the next. Pure."""

from __future__ import annotations

from ..errors import (
    BeanstalkException,
    ConnectionLost,
    Draining,
    OutOfMemory,
    UnexpectedResponse,
)


def refuses_jobs(error: BaseException) -> bool:
    """Return whether the error says that its server takes no jobs at present."""
    return isinstance(error, (Draining, OutOfMemory))


def may_go_on(error: BaseException, may_double: bool) -> bool:
    """Return whether a put that failed so may be put on another server.

    :param may_double: whether it may even if the first server may have it as well
    """
    if refuses_jobs(error):
        return True
    if isinstance(error, ConnectionLost):
        return may_double or not error.sent
    return may_double and isinstance(error, UnexpectedResponse)


def worse(error: BeanstalkException, before: BeanstalkException | None) -> BeanstalkException:
    """Return which of two errors to raise: a server's own word counts more than its absence."""
    return error if before is None or refuses_jobs(error) or not refuses_jobs(before) else before
