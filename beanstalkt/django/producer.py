"""Put jobs from a Django process, over one connection that its threads share."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

from django.core.signals import setting_changed

from ..blocking import Client
from ..dispatch.call import encode
from ..dispatch.schedule import Scheduled
from ..errors import ConnectionLost, InvalidArgument
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR
from .configuration import SETTING, configuration

_clients: dict[str, Client] = {}
"""The client of this process, by the URL of its server."""


class _Turn:
    """Let one thread at a time put a job, and none wait for the others without a limit.

    Threads that wait for a client wait as long as it takes: where a server does not answer, the
    tenth thread would wait ten times as long as the first.
    """

    def __init__(self) -> None:
        self._renew()
        # Another thread of the parent process may have been putting when this one was forked.
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        # A put in a signal's handler must get to the client, which refuses it and says why.
        self._lock = threading.RLock()

    def begin(self, seconds: float, server: str) -> None:
        """Wait until no other thread puts a job. Raises ConnectionLost after `seconds`."""
        if not self._lock.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
            raise ConnectionLost(
                f"put: {server} has not answered other threads of this process for {seconds:g} s",
                command="put",
            )

    def end(self) -> None:
        """Let another thread put a job."""
        self._lock.release()


_turn = _Turn()


def client() -> Client:
    """Return the client of this process; it connects with its first call."""
    settings = configuration()
    found = _clients.get(settings.server)
    if found is None:
        # Of two threads that come here at once, both get the client of the first.
        found = _clients.setdefault(
            settings.server, Client.from_url(settings.server, **settings.client)
        )
    return found


@atexit.register
def _close() -> None:
    while _clients:
        _clients.popitem()[1].close()


def _forget(*, setting: str, **_: object) -> None:
    if setting == SETTING:
        _close()


# Sent by the test tools of Django, such as override_settings.
setting_changed.connect(_forget)


def put(
    body: bytes,
    *,
    tube: str | None = None,
    priority: int = DEFAULT_PRIORITY,
    delay: int = 0,
    ttr: int = DEFAULT_TTR,
) -> int:
    """Put a job into a tube (None: the one of the settings); return its id.

    Raises what :meth:`beanstalkt.blocking.Client.put` raises.
    """
    settings = configuration()
    chosen = settings.tube if tube is None else tube
    _turn.begin(settings.client["response_timeout"], settings.server)
    try:
        return client().put(body, priority, delay, ttr, tube=chosen)
    finally:
        _turn.end()


def schedule_function(
    tube: str | None, name: str | Scheduled, /, *args: Any, **kwargs: Any
) -> int:
    """Put a job that calls a function of the dispatch table; return its id.

    :param tube: None: the tube of the settings
    :param name: the function's name in the dispatch table, or a
        :class:`~beanstalkt.dispatch.Scheduled` with it and how to put the job
    :param args: None, bool, int, finite float, str, and lists and dicts of them, as `kwargs`

    To put the job when the transaction is committed, and not at all when it is rolled back, write
    ``transaction.on_commit(partial(schedule_function, "mail", "send", user.email))``.

    Raises InvalidArgument, before anything is sent, for whatever is not JSON, and for a name that
    is not in the table of this process, if it has one; else what
    :meth:`beanstalkt.blocking.Client.put` raises.
    """
    scheduled = name if isinstance(name, Scheduled) else Scheduled(name)
    body = encode(scheduled.name, args, kwargs)
    table = configuration().table
    if table and scheduled.name not in table:
        raise InvalidArgument(
            f"there is no function {scheduled.name!r} in the dispatch table: it has "
            f"{', '.join(map(str, table))}"
        )
    return put(
        body,
        tube=tube,
        priority=scheduled.priority,
        delay=scheduled.delay,
        ttr=scheduled.ttr,
    )
