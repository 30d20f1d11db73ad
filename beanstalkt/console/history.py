"""The history of jobs, where the console was given one."""

from __future__ import annotations

from typing import Any

from ..errors import BeanstalkException
from ..protocol.servers import known_as
from .handlers import Api, refuse
from .server_handler import whole

LIMIT = 100
"""Rows of a page."""

TEXTS = ("tube", "event", "server")
NUMBERS = ("beanstalk_job_id", "job_id")


class HistoryHandler(Api):
    """Answer with what became of jobs, the newest first."""

    async def get(self) -> None:
        """Read the rows that match the query."""
        history = self.context.history
        if history is None:
            refuse("This console has no history: start it with --history.", 404)
        given = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        before = given.pop("before", None)
        unknown = set(given) - {*TEXTS, *NUMBERS}
        if unknown:
            refuse(f"The history has no field {min(unknown)!r}.")
        server, slash, number = given.get("beanstalk_job_id", "").rpartition("/")
        if slash:  # the name of a job, such as a/17
            given["server"], given["beanstalk_job_id"] = server, number
        filters: dict[str, Any] = {name: given[name][:255] for name in TEXTS if given.get(name)}
        if "server" in filters:
            filters["server"] = self._names_of(filters["server"])
        for name in NUMBERS:
            if given.get(name):
                filters[name] = min(whole(name, given[name]), 2**63 - 1)
        start = None if before is None else min(whole("before", before), 2**63 - 1)
        try:
            found = await history.read(filters, start, LIMIT)
        except BeanstalkException as error:
            refuse(str(error), 503)
        names = self._by_known_name()
        for row in found["rows"]:
            row["server_name"] = names.get(row["server"], row["server"])
        self.json(found)

    def _by_known_name(self) -> dict[str, str]:
        """Return what the console calls each server, by all that the history may call it."""
        servers = self.context.settings.servers
        return {known: name for name in servers for known in self._names_of(name)}

    def _names_of(self, server: str) -> list[str]:
        """Return what the history may call a server: it had no name in each runner and relay."""
        url = self.context.settings.servers.get(server)
        return list(dict.fromkeys((*known_as(server), *(known_as(url) if url else ()))))
