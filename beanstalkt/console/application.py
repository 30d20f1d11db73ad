"""The routes of the console, all of which are behind the gate."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.web import Application, RequestHandler

from .action_handlers import ActionHandler, ActionsHandler, CancelHandler, PutHandler
from .context import Context
from .handlers import Page, Refused, StaticFiles
from .history import HistoryHandler
from .import_handler import ImportHandler
from .jobs import BodyHandler, ExportHandler, JobHandler, JobsHandler
from .live import LiveHandler, StateHandler
from .login import LoginHandler, LogoutHandler, SessionHandler
from .metrics import HealthHandler, MetricsHandler
from .proxies import undo

STATIC = Path(__file__).parent / "static"

API: dict[str, type[RequestHandler]] = {
    r"/api/session": SessionHandler,
    r"/api/login": LoginHandler,
    r"/api/logout": LogoutHandler,
    r"/api/live": LiveHandler,
    r"/api/state": StateHandler,
    r"/api/servers/([^/]+)/jobs": JobsHandler,
    r"/api/servers/([^/]+)/jobs/([0-9]{1,20})": JobHandler,
    r"/api/servers/([^/]+)/jobs/([0-9]{1,20})/body": BodyHandler,
    r"/api/servers/([^/]+)/export": ExportHandler,
    r"/api/servers/([^/]+)/import": ImportHandler,
    r"/api/servers/([^/]+)/put": PutHandler,
    r"/api/servers/([^/]+)/actions": ActionsHandler,
    r"/api/history": HistoryHandler,
    r"/api/actions/([0-9]{1,10})": ActionHandler,
    r"/api/actions/([0-9]{1,10})/cancel": CancelHandler,
}
"""The handlers of what the page's script asks, by path."""


def page_for(prefix: str) -> bytes:
    """Return the one page, with the addresses of its script and styles below a prefix."""
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    return page.replace('"/static/', f'"{prefix}/static/').encode()


class ConsoleApplication(Application):
    """A Tornado application in which no route can be reached past the gate."""

    def __init__(self, context: Context) -> None:
        self._context = context
        shared = {"context": context}
        super().__init__(
            [
                *((path, handler, shared) for path, handler in API.items()),
                (r"/metrics", MetricsHandler, shared),
                (r"/healthz", HealthHandler, shared),
                (r"/static/(.*)", StaticFiles, {"path": str(STATIC)}),
                # Every other path is the page's own: its script shows what the path names.
                (r"/(?!api/).*", Page, {"page": page_for(context.settings.prefix)}),
            ],
            default_handler_class=Refused,
            default_handler_args=shared,
            log_function=lambda _handler: None,
            websocket_ping_interval=20,
            websocket_ping_timeout=20,
            websocket_max_message_size=64 * 1024,
        )

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:  # type: ignore[override]
        """Return what handles a request: its route, or the answer to what the gate refuses."""
        undo(request, self._context.settings)
        refusal = self._context.gate.refusal(request, time.monotonic())
        if refusal is None:
            return super().find_handler(request, **kwargs)
        return self.get_handler_delegate(
            request, Refused, {"context": self._context, "refusal": refusal}
        )
