"""Who has logged in: a session for each browser, found by its cookie."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

LIFETIME = 12 * 3600.0
"""Seconds after which a session ends, whatever is done in it."""

MAX_SESSIONS = 1000
"""Sessions at the same time at most; the oldest ends when there is one more."""


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Session:
    """Someone who may use the console.

    :ivar who: the name for the log of actions
    :ivar expires: seconds on the clock of `Sessions`
    :ivar id: what the cookie holds
    :ivar csrf: what each request that changes something must send as ``X-CSRF-Token``
    """

    who: str
    expires: float
    id: str = field(default_factory=_secret, repr=False)
    csrf: str = field(default_factory=_secret, repr=False)


class Sessions:
    """The sessions of a console, in memory: they end with it."""

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}

    def open(self, who: str, now: float) -> Session:
        """Begin a session."""
        session = Session(who, now + LIFETIME)
        self._by_id[session.id] = session
        if len(self._by_id) > MAX_SESSIONS:
            del self._by_id[next(iter(self._by_id))]
        return session

    def find(self, session_id: str | None, now: float) -> Session | None:
        """Return the session with this id, unless it has ended."""
        session = self._by_id.get(session_id or "")
        if session is None or session.expires <= now:
            self.close(session_id)
            return None
        return session

    def close(self, session_id: str | None) -> None:
        """End a session, if there is one with this id."""
        self._by_id.pop(session_id or "", None)
