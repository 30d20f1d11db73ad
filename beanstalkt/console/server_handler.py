"""What handlers share whose path names a server: the server, and the filter of jobs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ..admin import Selection, select
from .handlers import Api, refuse
from .watch import Watch

if TYPE_CHECKING:
    from .context import Context

MAX_SEARCHES = 8
"""Searches and exports at the same time at most: each takes a good part of a server's time."""

MAX_PATTERN = 200
"""Characters of a regular expression at most."""


class ServerHandler(Api):
    """A handler whose path names a server. Only those that were configured can be named."""

    def initialize(self, context: Context) -> None:
        """Take what handlers share."""
        super().initialize(context)
        self._task: asyncio.Task[Any] | None = None

    def watch(self, name: str) -> Watch:
        """Return the server with this name. Raises HTTPError 404."""
        watch = self.context.watches.get(name)
        if watch is None:
            refuse("No server of this name is configured.", 404)
        return watch

    def query(self) -> dict[str, Any]:
        """Return the arguments of the query. Those that are given twice count once."""
        return {name: self.get_query_argument(name) for name in self.request.query_arguments}

    async def while_connected(self, work: Awaitable[None]) -> None:
        """Await something until the browser goes away. Raises HTTPError 429."""
        searches = self.context.searches
        task = self._task = asyncio.ensure_future(work)
        searches.add(task)
        task.add_done_callback(searches.discard)
        if len(searches) > MAX_SEARCHES:
            task.cancel()
            refuse("Too many searches and exports are running: wait until one has ended.", 429)
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise

    def on_connection_close(self) -> None:
        """Stop what is done for a browser that has gone."""
        if self._task is not None:
            self._task.cancel()


def selection_of(values: dict[str, Any]) -> Selection:
    """Return the selection that a filter of the page stands for.

    Raises HTTPError 400 for unknown fields and wrong types, and InvalidArgument for wrong values.
    """
    unknown = set(values) - set(_FIELDS)
    if unknown:
        refuse(f"The filter has no field {min(unknown)!r}.")
    chosen = {
        name: _FIELDS[name](name, value)
        for name, value in values.items()
        if value not in ("", None)
    }
    if len(chosen.get("pattern", "")) > MAX_PATTERN:
        refuse(f"A regular expression may have {MAX_PATTERN} characters here.")
    tube = chosen.pop("tube", ())
    return select(tube, chosen.pop("state", ()), **chosen)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        refuse(f"{name} must be text.")
    return value


def _names(name: str, value: object) -> list[str]:
    if isinstance(value, str):
        return [each for each in value.split(",") if each]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        refuse(f"{name} must be a list of names.")
    return value


def whole(name: str, value: object) -> int:
    """Return a whole number that a request names. Raises HTTPError 400."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,20}", value):
        refuse(f"{name} must be a whole number.")
    return int(value)


_FIELDS: dict[str, Callable[[str, object], Any]] = {
    "tube": _text,
    "state": _names,
    "text": _text,
    "pattern": _text,
    "min_priority": whole,
    "max_priority": whole,
    "min_age": whole,
    "max_age": whole,
    "since_id": whole,
    "until_id": whole,
}
"""The fields of a filter, and what reads each."""
