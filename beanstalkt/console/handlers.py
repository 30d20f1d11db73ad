"""What all handlers of the console share: headers, errors as JSON, arguments, the caller."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NoReturn

from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from ..errors import BeanstalkException, ConnectionLost, InvalidArgument, NotFound, TimedOut
from .gate import Refusal
from .sessions import Session

if TYPE_CHECKING:
    from .context import Context

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No script can turn text into markup, not even by mistake.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with that, browsers send `Origin: null` with some requests.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""What every response carries, refusals too."""


class Secure(RequestHandler):
    """A handler whose every response carries the headers that keep a page safe."""

    def set_default_headers(self) -> None:
        """Give every response the headers of `HEADERS`, and none that names the server."""
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)


class StaticFiles(Secure, StaticFileHandler):
    """Serve the scripts and styles; a browser asks each time whether they are still the same."""

    def set_extra_headers(self, path: str) -> None:
        """Have the browser ask again: after an upgrade, old scripts must not meet new ones."""
        self.set_header("Cache-Control", "no-cache")


class Page(Secure):
    """Serve the one page; its script shows what the path names."""

    def initialize(self, page: bytes) -> None:
        """Keep the page that is to be sent."""
        self._page = page

    def get(self) -> None:
        """Send the page."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.finish(self._page)

    head = get


class Api(Secure):
    """A handler that answers in JSON, also when something is wrong."""

    def initialize(self, context: Context) -> None:
        """Take what handlers share."""
        self.context = context

    def set_default_headers(self) -> None:
        """Set the headers of all responses, and keep answers out of caches."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")
        # nginx would collect what is sent piece by piece.
        self.set_header("X-Accel-Buffering", "no")

    @property
    def session(self) -> Session | None:
        """Whose request this is; None on a public path, without a login."""
        return self.context.gate.session(self.request, time.monotonic())

    @property
    def who(self) -> str:
        """Who asks, for the log of actions."""
        session = self.session
        return f"{session.who if session else 'nobody'} from {self.request.remote_ip}"

    @property
    def cookie_path(self) -> str:
        """The path below which the browser sends the cookie of the session."""
        return f"{self.context.settings.prefix}/"

    @property
    def uses_tls(self) -> bool:
        """Whether the browser uses HTTPS, with the console or with a proxy in front of it.

        The gate has compared the host in the header Origin with ours.
        """
        origin = self.request.headers.get("Origin", "")
        return self.request.protocol == "https" or origin.startswith("https://")

    def json(self, value: Any) -> None:
        """Answer with JSON."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(value, separators=(",", ":")))

    def read_json(self) -> dict[str, Any]:
        """Return the object in the body of the request. Raises HTTPError 400 or 415."""
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HTTPError(415, reason="The body must be application/json.")
        try:
            value = json.loads(self.request.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            refuse("The body must be a JSON object.")
        return value

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with the message of an error."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        self.json({"error": _message(error, self._reason)})

    def log_exception(self, *args: Any) -> None:
        """Log only what is a defect of ours; what the server or the browser did is answered."""
        if not isinstance(args[1], (BeanstalkException, HTTPError)):
            super().log_exception(*args)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer an error of the server with a status that fits it."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, BeanstalkException):
            status_code = status_of(error)
        super().send_error(status_code, **kwargs)


NOT_FOUND = Refusal(404, "There is nothing at this address.")


class Refused(Api):
    """Answer what the gate has refused; also what no route fits."""

    def initialize(self, context: Context, refusal: Refusal = NOT_FOUND) -> None:
        """Take the refusal."""
        super().initialize(context)
        self._refusal = refusal

    def prepare(self) -> None:
        """Answer, whatever the method is."""
        if self._refusal.status == 401:
            self.set_header("WWW-Authenticate", 'Bearer realm="beanstalkt console"')
        self.set_status(self._refusal.status)
        self.json({"error": self._refusal.reason})


def refuse(message: str, status: int = 400) -> NoReturn:
    """Raise an HTTPError whose message the browser shows."""
    raise HTTPError(status, message)


def status_of(error: BeanstalkException) -> int:
    """Return the HTTP status for an error of the server or of an argument."""
    if isinstance(error, InvalidArgument):
        return 400
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, TimedOut):
        return 504
    return 502 if isinstance(error, ConnectionLost) else 409


def _message(error: BaseException | None, reason: str) -> str:
    if isinstance(error, BeanstalkException):
        return str(error)
    if isinstance(error, HTTPError) and error.log_message:
        return error.log_message
    return reason
