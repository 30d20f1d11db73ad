"""Serves metrics over HTTP: ``/metrics``, and ``/healthz`` where there is something to check."""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

Check = Callable[[], Awaitable[list[str]]]
"""Returns what is wrong; an empty list: nothing."""


Render = Callable[[], Awaitable[str]]
"""Returns the metrics as text."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The format of the metrics."""


class MetricsServer:
    """An HTTP server for metrics.

    :param render: what ``/metrics`` answers with
    :param check: what ``/healthz`` asks; None: it always answers that all is well
    :param status: makes the JSON of ``/status``; None: there is no such page
    """

    def __init__(
        self,
        render: Render,
        *,
        check: Check | None = None,
        status: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        routes: list[Any] = [
            ("/metrics", _Metrics, {"render": render}),
            ("/healthz", _Healthz, {"check": check}),
        ]
        if status is not None:
            routes.append(("/status", _Status, {"status": status}))
        application = Application(routes, log_function=lambda _: None)
        self._http = HTTPServer(application, max_body_size=0, idle_connection_timeout=120)

    def serve(self, sockets: list[socket.socket]) -> None:
        """Answer on sockets that listen."""
        self._http.add_sockets(sockets)

    async def close(self) -> None:
        """Stop listening, and end every connection."""
        self._http.stop()
        await self._http.close_all_connections()


class _Metrics(RequestHandler):
    def initialize(self, render: Render) -> None:
        self._render = render

    async def get(self) -> None:
        text = await self._render()
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(text)


class _Healthz(RequestHandler):
    def initialize(self, check: Check | None) -> None:
        self._check = check

    async def get(self) -> None:
        problems = await self._check() if self._check is not None else []
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_status(503 if problems else 200)
        self.finish("\n".join(problems or ["ok"]) + "\n")


class _Status(RequestHandler):
    def initialize(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status

    def get(self) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(self._status()))
