"""The routes by which a page changes something. None of them answers to GET."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from ..protocol.arguments import DELAY, TUBE
from .actions import TooMany
from .handlers import Api, refuse
from .operations import OPERATIONS
from .server_handler import ServerHandler, selection_of


class ActionsHandler(ServerHandler):
    """Begin actions on a server."""

    def post(self, server: str) -> None:
        """Begin an action, or with ``dry_run`` one that only counts; answer with its number."""
        self.watch(server)
        values = self.read_json()
        verb, target = values.get("verb"), values.get("filter", {})
        operation = OPERATIONS.get(verb) if isinstance(verb, str) else None
        if operation is None or operation.uploads or not isinstance(verb, str):
            refuse(f"There is no such action: {verb!r:.40}.")
        if not isinstance(target, dict):
            refuse("The filter must be an object.")
        dry_run = values.get("dry_run") is True
        if dry_run and not operation.on_jobs:
            refuse(f"{verb} cannot be tried: it is about no jobs.")
        selection = selection_of(target)
        if not operation.on_jobs and len(selection.tubes) != 1:
            refuse(f"{verb} needs the name of a tube.")
        options = self._options(values.get("options", {}), operation.options)
        try:
            action = self.context.actions.start(
                verb, server, target, selection, options, who=self.who, dry_run=dry_run
            )
        except TooMany:
            refuse("Too many actions are running: wait until one has ended.", 429)
        self.json(action.as_dict())

    def _options(self, given: Any, known: frozenset[str]) -> dict[str, Any]:
        if not isinstance(given, dict):
            refuse("The options must be an object.")
        if set(given) - known:
            refuse(f"There is no such option here: {min(set(given) - known)!r}.")
        if "seconds" in known:
            seconds = given.setdefault("seconds", 3600)
            if not isinstance(seconds, int) or isinstance(seconds, bool):
                refuse("seconds must be a whole number.")
            DELAY.check(seconds)
        if "to_tube" in given:
            TUBE.check(given["to_tube"])
        if "to_server" in given:
            self.watch(str(given["to_server"]))
        return given


class ActionHandler(Api):
    """Tell how far an action is."""

    def get(self, number: str) -> None:
        """Answer with the action."""
        action = self.context.actions.find(int(number))
        if action is None:
            refuse("There is no such action, or it ended long ago.", 404)
        self.json(action.as_dict())


class CancelHandler(Api):
    """End an action before it is done."""

    def post(self, number: str) -> None:
        """Cancel the action; answer whether it was still running."""
        self.json({"cancelled": self.context.actions.cancel(int(number))})


class PutHandler(ServerHandler):
    """Put one job into a tube of a server."""

    async def post(self, server: str) -> None:
        """Put the job; answer with its id."""
        watch = self.watch(server)
        values = self.read_json()
        tube, body = values.get("tube", "default"), values.get("body", "")
        if not isinstance(tube, str) or not isinstance(body, str):
            refuse("The tube and the body must be text.")
        data = body.encode("utf-8", "surrogatepass")
        if values.get("encoding") == "base64":
            try:
                data = base64.b64decode("".join(body.split()), validate=True)
            except (binascii.Error, ValueError):
                refuse("The body is not base64.")
        async with watch.client() as client:
            job_id = await client.put(
                data,
                values.get("priority", 2**31),
                values.get("delay", 0),
                values.get("ttr", 120),
                tube=tube,
            )
        several = len(self.context.settings.servers) > 1
        name = f"{server}/{job_id}" if several else str(job_id)
        self.context.actions.note("put", server, {"tube": tube}, self.who, f"job {name}")
        self.json({"id": job_id})
