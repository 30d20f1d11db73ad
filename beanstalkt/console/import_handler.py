"""Takes the lines of an export from a browser, and begins to import them."""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING, Any

from tornado.web import stream_request_body

from ..admin import select
from .actions import TooMany
from .handlers import refuse
from .server_handler import ServerHandler

if TYPE_CHECKING:
    from .context import Context

MAX_UPLOAD = 1 << 30
"""Bytes of the lines at most."""

IN_MEMORY = 1 << 20
"""Bytes that are kept in memory; more go to a file that has no name."""


@stream_request_body
class ImportHandler(ServerHandler):
    """Begin an action that imports what is uploaded."""

    def initialize(self, context: Context) -> None:
        """Take what handlers share."""
        super().initialize(context)
        # Closed by the action that imports it, or when nothing came of the request.
        self._upload: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        self._begun = False

    def prepare(self) -> None:
        """Allow more than in other requests, since it is not kept in memory."""
        connection: Any = self.request.connection
        connection.set_max_body_size(MAX_UPLOAD)

    def data_received(self, chunk: bytes) -> None:
        """Keep a part of the lines."""
        self._upload.write(chunk)

    def post(self, server: str) -> None:
        """Begin the import; answer with the number of the action."""
        self.watch(server)
        if not self.request.headers.get("Content-Type", "").startswith("application/x-ndjson"):
            refuse("The body must be application/x-ndjson.", 415)
        self._upload.seek(0)
        try:
            action = self.context.actions.start(
                "import", server, {}, select(), {}, who=self.who, upload=self._upload
            )
        except TooMany:
            refuse("Too many actions are running: wait until one has ended.", 429)
        self._begun = True  # the action closes the file
        self.json(action.as_dict())

    def on_finish(self) -> None:
        """Drop what was uploaded for nothing."""
        if not self._begun:
            self._upload.close()

    def on_connection_close(self) -> None:
        """Drop what came before the browser went away."""
        self.on_finish()
