"""A server of a blocking pool: its main connection, and those on which reserves have waited."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from ..errors import ConnectionLost
from ..protocol.servers import Server

if TYPE_CHECKING:
    from .client import Client

REFUSAL_PAUSE = 1.0
"""Seconds for which a server that takes no jobs is left out where another one will do."""

LONGEST_ABSENCE = 30.0
"""Seconds for which a server that cannot be reached is left out at the most, unless told."""


class Member:
    """One server of a blocking pool.

    Without an event loop, nothing notices that a server is back before the next call. So a server
    that was lost, or did not answer, is left out for a while that doubles, and then tried again.

    :param make_client: makes a client of the server, not connected yet
    :param delay: seconds for which it is left out at first
    :param longest: seconds up to which that grows
    """

    def __init__(
        self,
        server: Server,
        make_client: Callable[[Server], Client],
        delay: float,
        longest: float,
    ) -> None:
        #: name, address and weight
        self.server = server
        #: for everything but reserves that wait
        self.client = make_client(server)
        #: puts under way
        self.outstanding = 0
        #: reserves under way on its main connection, each of which may bring a job
        self.asking = 0
        #: it takes no new jobs and gives none
        self.leaving = False
        #: why it cannot be used
        self.reason = "not tried yet"
        self._make_client = make_client
        self._first_delay = delay
        self._delay = delay
        self._longest = longest
        self._away_until = 0.0
        self._refuses_until = 0.0

    def new_client(self) -> Client:
        """Return another client of the server, not connected yet."""
        return self._make_client(self.server)

    @property
    def usable(self) -> bool:
        """Whether it is worth a try."""
        return monotonic() >= self._away_until

    @property
    def back_at(self) -> float:
        """When it is worth a try, on the monotonic clock."""
        return self._away_until

    @property
    def takes_puts(self) -> bool:
        """Whether a put is to be tried on it before all those of which this is not so."""
        return monotonic() >= max(self._away_until, self._refuses_until)

    def refused(self) -> None:
        """Note that it takes no jobs at present."""
        self._refuses_until = monotonic() + REFUSAL_PAUSE

    def lost(self, error: ConnectionLost) -> None:
        """Note that it could not be reached, or has not answered."""
        self.reason = str(error)
        self._away_until = monotonic() + self._delay
        self._delay = min(2 * self._delay, self._longest)

    def answered(self) -> None:
        """Note that it can be used."""
        self._away_until = 0.0
        self._delay = self._first_delay

    def try_now(self) -> None:
        """Leave it out no longer."""
        self._away_until = 0.0
