"""The web handler that calls the function which a request names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from tornado.web import RequestHandler

from .perform import perform_async
from .request import Refused, find
from .table import TableEntry, brief

log = logging.getLogger("beanstalkt.dispatch")


class DispatcherHandler(RequestHandler):
    """Answer a POST by calling the function that its body names.

    The body is that of a scheduled job, plain or in base64::

        (r"/beanstalk_dispatch/dispatcher", DispatcherHandler, {"table": TABLE})

    The status is 200 if the task succeeded, and 500 if it failed, so that the sender tries again.
    It is 400 with ``{"message", "error"}`` for a request that can never succeed. Then ``message``
    is one of five: no table configured, missing argument (also for a body that cannot be read, or
    arguments that the function does not take), function not found, unable to locate, not a
    SafeTask.

    A coroutine function runs on the loop, a plain one in a thread, which cannot be stopped. Past
    the limit (``timeout_timedelta``; 2 minutes for a function) the status is 500.

    :param table: mapping from name to path, function or SafeTask; None: the application's
        setting ``dispatch_table``
    """

    def initialize(self, table: Mapping[str, object] | None = None) -> None:
        """Keep the dispatch table: the one given, else the application's."""
        self.table = self.settings.get("dispatch_table") if table is None else table

    def check_xsrf_cookie(self) -> None:
        """Check nothing: requests come from programs, which have no cookie."""

    async def post(self) -> None:
        """Call the function that the body names, and answer."""
        try:
            entry, call = find(self.table, self.request.body)
        except Refused as refused:
            log.warning("%s: %s", refused.message, refused.error)
            self.set_status(400)
            self.write({"message": refused.message, "error": refused.error})
        else:
            await self._call(entry, call.args, call.kwargs)

    async def _call(self, entry: TableEntry, args: list[Any], kwargs: dict[str, Any]) -> None:
        failure: BaseException | None
        try:
            task = entry.make()
        except BaseException as error:
            failure = error
        else:
            failure = await _apart(perform_async(task, args, kwargs, not entry.asynchronous))
        if failure is None:
            self.write({})
            return
        log.error("%s has failed", entry.name, exc_info=failure)
        self.set_status(500)
        self.write({"message": "the task failed", "error": brief(failure)})


async def _apart(performing: Coroutine[Any, Any, BaseException | None]) -> BaseException | None:
    """Await a call in a task of its own, and return the exception that made it fail.

    So a CancelledError that the function raises is its failure, while one that is raised here says
    that the request is cancelled.
    """
    task = asyncio.ensure_future(performing)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    return task.result()
