"""The console as a whole: what runs while it is open, and its HTTP server."""

from __future__ import annotations

import asyncio
import ssl

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from ..errors import InvalidArgument
from .action_log import ActionLog
from .actions import Actions
from .application import ConsoleApplication
from .context import Context, History, Metrics
from .gate import Gate
from .hub import Hub
from .runners import Runners
from .settings import Settings
from .watch import Watch

MAX_BODY = 1 << 20
"""Bytes of the body of a request at most, where it is not read in pieces."""

MAX_HEADERS = 32 * 1024
"""Bytes of the headers of a request at most."""

IDLE = 120.0
"""Seconds that a connection is kept without a request, and that a body may take."""


class Console:
    """A web console, to be started and stopped on a running loop.

    :param settings: what it shows, and to whom
    :param metrics: makes what ``/metrics`` answers with; None: it has nothing there
    :param history: what became of jobs; None: the page of the history is empty
    """

    def __init__(
        self,
        settings: Settings,
        *,
        metrics: Metrics | None = None,
        history: History | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._history = history
        self._http: HTTPServer | None = None
        self._watches: dict[str, Watch] = {}
        self._actions: Actions | None = None
        self._runners: Runners | None = None
        #: the port that the console listens on, once it was started
        self.port = settings.port

    @property
    def url(self) -> str:
        """The address of the console for a browser on the same machine."""
        scheme = "https" if self._settings.certificate else "http"
        host, prefix = self._settings.host, self._settings.prefix
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}{prefix}/"

    def start(self) -> None:
        """Listen, and begin to watch the servers.

        Raises OSError if the address is taken or the log of actions cannot be written, and
        InvalidArgument for a wrong certificate.
        """
        tls = self._tls()
        entries = ActionLog(self._settings.action_log)
        try:
            sockets = bind_sockets(self._settings.port, self._settings.host)
        except OSError:
            entries.close()
            raise
        self.port = sockets[0].getsockname()[1]
        self._http = HTTPServer(
            ConsoleApplication(self._context(entries)),
            ssl_options=tls,
            max_body_size=MAX_BODY,
            max_header_size=MAX_HEADERS,
            idle_connection_timeout=IDLE,
            body_timeout=IDLE,
        )
        self._http.add_sockets(sockets)
        for watch in self._watches.values():
            watch.start()
        if self._runners is not None:
            self._runners.start()

    async def stop(self) -> None:
        """Stop listening, close every connection, and stop watching."""
        if self._http is None:
            return
        self._http.stop()
        await self._http.close_all_connections()
        self._http = None
        if self._runners is not None:
            await self._runners.stop()
        if self._actions is not None:
            await self._actions.close()
        await asyncio.gather(*(watch.stop() for watch in self._watches.values()))

    def _context(self, entries: ActionLog) -> Context:
        settings = self._settings
        # Cookies do not know ports: two consoles on one machine must not take each other's.
        cookie = f"beanstalkt-{self.port}"
        hub: Hub
        self._watches = {
            name: Watch(name, url, settings.interval, lambda watch: hub.sampled(watch))
            for name, url in settings.servers.items()
        }
        self._actions = Actions(self._watches, entries, lambda: hub.changed("actions"))
        self._runners = Runners(
            settings.runners,
            settings.servers,
            settings.interval,
            wanted=lambda: hub.wanted("runners"),
            changed=lambda: hub.changed("runners"),
        )
        hub = Hub(self._watches, {"actions": self._actions, "runners": self._runners})
        gate = Gate(settings, cookie)
        return Context(
            settings,
            gate,
            cookie,
            self._watches,
            hub,
            self._actions,
            self._metrics,
            self._history,
        )

    def _tls(self) -> ssl.SSLContext | None:
        if self._settings.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self._settings.certificate, self._settings.key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"the certificate cannot be used: {error}") from None
        return context
