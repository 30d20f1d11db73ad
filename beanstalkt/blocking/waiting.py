"""Waiting for a job at several servers at once, without an event loop or another thread."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from ..client.requests import ReserveRequest
from ..errors import BeanstalkException, ConnectionLost, DeadlineSoon
from ..protocol.commands import RESERVE
from .client import Client
from .connection import Connection, Result
from .job import Job
from .member import Member

WAKES = 4096
"""Bytes that are read when the thread was woken: one for each time."""

CLOSED_CHECK = 0.5
"""Seconds between two looks whether the pool was closed, while no server can be reached."""


class Wait:
    """A reserve that waits at one server, on a connection of its own.

    Raises ConnectionLost if there is no connection to the server.
    """

    def __init__(self, member: Member, client: Client) -> None:
        #: where it waits
        self.member = member
        #: whose connection it is
        self.client = client
        client.connect()
        connection = client.connection
        if connection is None or connection.ended:
            raise ConnectionLost("lost again at once", command=RESERVE.verb)
        self.connection: Connection = connection
        self._result = Result()
        self._result.holder = connection.pipeline
        connection.begin(ReserveRequest(RESERVE, RESERVE.form, self._result, client))

    def take_in(self) -> Job | None:
        """Return the job if it has come; raise the error by which the server ended the wait.

        Raises ConnectionLost when the connection has ended.
        """
        self.connection.take_in()
        if self._result.error is not None:
            raise self._result.error
        if self._result.settled:
            job: Job = self._result.value
            return job
        if self.connection.ended:
            raise ConnectionLost(self.connection.reason, command=RESERVE.verb)
        return None


class Waits:
    """The reserves of one caller, one at each server; the first job ends them all.

    :param members: returns the servers
    :param make_client: returns a client that waits for no other caller
    :param is_current: returns whether a client watches what it is to watch now
    :param closed: returns whether the pool was closed
    """

    def __init__(
        self,
        members: Callable[[], Sequence[Member]],
        make_client: Callable[[Member], Client],
        is_current: Callable[[Client], bool],
        closed: Callable[[], bool],
    ) -> None:
        self._members = members
        self._make_client = make_client
        self._is_current = is_current
        self._closed = closed
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._waits: dict[Member, Wait] = {}
        #: all clients that it has got
        self.clients: list[Client] = []
        self._winner: Client | None = None

    def first(self, deadline: float | None) -> tuple[Wait, Job] | None:
        """Return the first job, and the wait that brought it; None at the deadline.

        :param deadline: on the monotonic clock; None: there is none

        Raises ConnectionLost when the pool is closed.
        """
        try:
            while True:
                self._start()
                if self._closed():
                    raise ConnectionLost("reserve: the pool was closed", command="reserve")
                for key, _ in self._selector.select(self._patience(deadline)):
                    if key.data is None:
                        self._woken.recv(WAKES)
                        continue
                    found = self._look(key.data)
                    if found is not None:
                        return found
                if deadline is not None and time.monotonic() >= deadline:
                    return None
        except BaseException:
            self._winner = None
            raise
        finally:
            self._close()

    def wake(self) -> None:
        """Have the thread look again where it is to wait; may be called from any other one."""
        with suppress(OSError):  # it has been woken often enough, or waits no more
            self._waker.send(b"w")

    def interrupt(self) -> None:
        """End the waits because the pool was closed; may be called from any other thread."""
        for wait in list(self._waits.values()):
            wait.connection.interrupt()
        self.wake()

    def forget(self) -> None:
        """Let go, in a child process, of what belongs to a thread of its parent."""
        self._selector.close()
        self._woken.close()
        self._waker.close()

    def _start(self) -> None:
        """Wait at each server that takes part and can be reached, and at no other one."""
        members = self._members()
        for member, wait in list(self._waits.items()):
            if member not in members or not self._is_current(wait.client):
                self._end(wait)
        for member in members:
            if member in self._waits or not member.usable:
                continue
            client = self._make_client(member)
            # Before anything is sent: interrupted after that, it must be found and closed.
            self.clients.append(client)
            try:
                wait = Wait(member, client)
            except ConnectionLost as error:
                member.lost(error)
                continue
            member.answered()
            self._waits[member] = wait
            if not wait.connection.ended:
                self._selector.register(wait.connection, selectors.EVENT_READ, wait)

    def _patience(self, deadline: float | None) -> float | None:
        """Return for how long to wait at most."""
        away = [member.back_at for member in self._members() if member not in self._waits]
        now = time.monotonic()
        ends = [when - now for when in away]
        if deadline is not None:
            ends.append(deadline - now)
        if not self._waits:
            ends.append(CLOSED_CHECK)
        return max(0.0, min(ends)) if ends else None

    def _look(self, wait: Wait) -> tuple[Wait, Job] | None:
        try:
            job = wait.take_in()
        except BeanstalkException as error:
            self._end(wait)
            wait.member.lost(_as_lost(error))
            return None
        if job is None:
            return None
        self._winner = wait.client
        return wait, job

    def _end(self, wait: Wait) -> None:
        del self._waits[wait.member]
        # Not by the connection, whose socket may be closed already.
        for key in list(self._selector.get_map().values()):
            if key.data is wait:
                self._selector.unregister(key.fd)
        wait.client.close()

    def _close(self) -> None:
        for client in self.clients:
            if client is not self._winner:
                client.close()  # the server takes back a job that was on its way
        self._waits.clear()
        self.forget()


def _as_lost(error: BeanstalkException) -> ConnectionLost:
    if isinstance(error, ConnectionLost):
        return error
    what = "it holds a job that is not known here" if isinstance(error, DeadlineSoon) else error
    return ConnectionLost(f"reserve: {what}", command=RESERVE.verb)
