"""Decides, before any route is looked at, whether a request may go on.

Every request passes `Gate.refusal`, whatever its path: what the gate refuses no handler ever sees.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

from .sessions import Session, Sessions
from .settings import Settings
from .throttle import Throttle

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods that change nothing."""

PUBLIC = re.compile(r"/(?!api/|metrics$).*|/api/(session|login|logout)")
"""The paths that need no login: the page, its scripts, ``/healthz``, and logging in itself."""

LOGIN = "/api/login"
"""Needs no token against forged requests: who logs in may have none yet, or an old one."""

LOGIN_ROUTES = frozenset({LOGIN, "/api/logout"})
"""What may be posted although the console is read-only."""

CSRF_HEADER = "X-CSRF-Token"


@dataclass(frozen=True)
class Refusal:
    """Hold why a request is refused, and how it is answered.

    :ivar status: of the response
    :ivar reason: a sentence for whoever reads the response
    """

    status: int
    reason: str


class Gate:
    """Check who asks, by which name, from where, and whether that may be done at all.

    :param cookie: the name of the cookie that holds the id of a session
    """

    def __init__(self, settings: Settings, cookie: str) -> None:
        self._settings = settings
        self._cookie = cookie
        self._hosts = settings.host_names()
        self.sessions = Sessions()
        self.throttle = Throttle()
        #: everybody's, where no login is needed; its token still keeps other sites out
        self._open = Session("local", float("inf"))
        #: that of programs with the token
        self._program = Session("token", float("inf"))

    def refusal(self, request: HTTPServerRequest, now: float) -> Refusal | None:
        """Return why a request must not go on, or None if it may.

        :param now: seconds on a steady clock, as everywhere here
        """
        refusal = self._wrong_host(request) or self._wrong_site(request)
        if refusal is not None:
            return refusal
        by_token = self._has_token(request)
        if by_token is False:
            # Not slowed down: it is too long to be found by trying.
            return Refusal(401, "The token is wrong.")
        session = self.session(request, now)
        if session is None and not PUBLIC.fullmatch(request.path):
            return Refusal(401, "Log in first.")
        if request.method in SAFE_METHODS:
            return None
        if self._settings.read_only and request.path not in LOGIN_ROUTES:
            return Refusal(403, "This console is read-only (--read-only).")
        if by_token or session is None or request.path == LOGIN:
            return None
        if not _has_csrf(request, session):
            return Refusal(403, f"The header {CSRF_HEADER} is missing or wrong: reload the page.")
        return None

    def session(self, request: HTTPServerRequest, now: float) -> Session | None:
        """Return whose request it is; None if that is not known."""
        if self._has_token(request):
            return self._program
        if not self._settings.needs_login:
            return self._open
        morsel = request.cookies.get(self._cookie)
        return self.sessions.find(morsel.value if morsel is not None else None, now)

    def log_in(self, password: str, who: str, address: str, now: float) -> Session | float | None:
        """Begin a session if the password is right.

        Return the session, None if the password is wrong, or the seconds to wait before another
        password from this address is even looked at.
        """
        wait = self.throttle.wait(address, now)
        if wait:
            return wait
        expected = self._settings.password
        if expected is None or not _same(password, expected):
            self.throttle.failed(address, now)
            return None
        self.throttle.succeeded(address)
        return self.sessions.open(who, now)

    def _wrong_host(self, request: HTTPServerRequest) -> Refusal | None:
        """Refuse a host that is not ours: a site may have its own name resolve to this machine."""
        host = request.headers.get_list("Host")
        name = _host_name(host[0]) if len(host) == 1 else None
        if name in self._hosts:
            return None
        shown = name if name and len(name) < 100 else "that name"
        return Refusal(
            421, f"This console does not answer to {shown!r}: start it with --allow-host {shown}."
        )

    def _wrong_site(self, request: HTTPServerRequest) -> Refusal | None:
        """Refuse what another site's page sent, except the opening of a page by a link."""
        upgrade = "Upgrade" in request.headers
        site = request.headers.get("Sec-Fetch-Site")
        navigation = (
            request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method in SAFE_METHODS
        )
        refusal = Refusal(403, "This request comes from another site.")
        if site not in (None, "same-origin", "none") and not (navigation and not upgrade):
            return refusal
        origin = request.headers.get("Origin")
        if origin is None:
            # Every browser sends it with these; what is no browser has a token.
            if upgrade and self._has_token(request) is None:
                return Refusal(403, "A WebSocket needs the header Origin.")
            return None
        parts = urlsplit(origin) if len(origin) < 1000 else None
        if parts is None or parts.scheme not in ("http", "https"):
            return refusal
        return None if parts.netloc.lower() == request.headers["Host"].lower() else refusal

    def _has_token(self, request: HTTPServerRequest) -> bool | None:
        """Return whether the token is right; None if the request has none."""
        given = request.headers.get("Authorization")
        if given is None:
            return None
        scheme, _, token = given.partition(" ")
        expected = self._settings.token
        return expected is not None and scheme.lower() == "bearer" and _same(token, expected)


def _host_name(host: str) -> str | None:
    """Return the name in a ``Host`` header, without its port; None for what is no host."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?", host)
    return (match[1] or match[2]).lower() if match else None


def _has_csrf(request: HTTPServerRequest, session: Session) -> bool:
    return _same(request.headers.get(CSRF_HEADER, ""), session.csrf)


def _same(given: str, expected: str) -> bool:
    """Compare in a time that does not tell how much is right."""
    return hmac.compare_digest(
        given.encode("utf-8", "surrogateescape"), expected.encode("utf-8", "surrogateescape")
    )
