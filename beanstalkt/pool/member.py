"""A server of a pool, and the connection for everything but waiting."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from ..client.client import Client
from ..client.connection import Connection
from ..client.reconnecting import NOT_YET
from ..protocol.servers import Server

PATIENCE = 0.25
"""Seconds after which a server that answers nothing is left out where another one will do."""

REFUSAL_PAUSE = 1.0
"""Seconds for which a server that takes no jobs is left out where another one will do."""


class Member:
    """One server of a pool: its main connection, and whether it can be used.

    A server that accepts connections need not answer. So one counts as usable only when it has
    answered a command on the connection that there is.

    :param client: connects to the server, and keeps doing so
    :param on_usable: called each time the server becomes usable
    """

    def __init__(
        self, server: Server, client: Client, on_usable: Callable[[Member], object]
    ) -> None:
        #: name, address and weight
        self.server = server
        #: for everything but reserves that wait
        self.client = client
        #: puts under way
        self.outstanding = 0
        #: it takes no new jobs and gives none: it leaves once the jobs that run are settled
        self.leaving = False
        #: when to ask it for a job again, on the loop's clock, after it had none
        self.ask_after = 0.0
        #: how many jobs it has given, counted so that it can be compared with other servers
        self.given = 0
        #: called with the client when it has another connection than before
        self.on_reconnect: Callable[[Client], object] | None = None
        self._on_usable = on_usable
        #: the connection on which it has answered; None until then
        self.proof: Connection | None = None
        self._refuses_until = 0.0

    def __repr__(self) -> str:
        return f"<server {self.server}>"

    def open(self) -> None:
        """Connect, and go on trying until that works."""
        self.client.set_reconnect_callback(self._reconnected)
        self.client.connect(self._connected)

    def _connected(self, error: BaseException | None = None) -> None:
        if error is None:
            self._ask_for_sign()

    def _reconnected(self) -> None:
        self._ask_for_sign()
        self.reconnected(self.client)

    def _ask_for_sign(self) -> None:
        connection = self.client.connection
        if connection is None:
            return

        def answered(reply: object) -> None:
            if not isinstance(reply, BaseException) and self.client.connection is connection:
                self.proof = connection
                self._refuses_until = 0.0
                self._on_usable(self)

        self.client.list_tube_used(answered)

    @property
    def usable(self) -> bool:
        """Whether it is connected, and has answered on that connection."""
        return self.proof is not None and not self.proof.ended

    @property
    def reason(self) -> str:
        """Why it cannot be used."""
        if self.client.connection is None:
            return self.client.reason
        if self.usable:
            return "it is connected, but its weight is 0"
        return "it accepts connections, and has answered nothing"

    @property
    def first_attempt(self) -> bool:
        """Whether it has neither answered nor refused since the pool was opened."""
        if self.client.connection is None:
            return self.client.reason == NOT_YET
        return not self.usable

    @property
    def prompt(self) -> bool:
        """Whether it is usable, and answers in time at present."""
        connection = self.proof
        return (
            connection is not None
            and not connection.ended
            and not connection.is_silent_for(PATIENCE)
        )

    @property
    def takes_puts(self) -> bool:
        """Whether a put is to be tried on it before all those of which this is not so."""
        # All in place, because it is asked for each put.
        connection = self.proof
        if connection is None or connection.ended or connection.is_silent_for(PATIENCE):
            return False
        return not self._refuses_until or self._refuses_no_more()

    def _refuses_no_more(self) -> bool:
        if monotonic() < self._refuses_until:
            return False
        self._refuses_until = 0.0
        return True

    def refused(self) -> None:
        """Note that it takes no jobs at present."""
        self._refuses_until = monotonic() + REFUSAL_PAUSE

    def reconnected(self, client: Client) -> None:
        """Tell that a client of this server has another connection than before."""
        if self.on_reconnect is not None:
            self.on_reconnect(client)
