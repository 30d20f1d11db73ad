"""The web handler that calls the function a request says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from tornado.web import RequestHandler

from .perform import perform_async
from .request import Refused, find
from .table import Entry, brief

log = logging.getLogger("beanstalkt.dispatch")


class DispatcherHandler(RequestHandler):
    """Answers a POST whose body is that of a scheduled job (plain or base64) by calling it::

        (r"/beanstalk_dispatch/dispatcher", DispatcherHandler, {"table": TABLE})

    200 when the task succeeded; 500 when it failed, so that the sender tries again; 400 with
    ``{"message", "error"}`` for a request that can never succeed, where ``message`` is one of
    five: no table configured, missing argument (also for a body that cannot be read, or arguments
    that the function does not take), function not found, unable to locate, not a SafeTask.

    A coroutine function runs on the loop, a plain one in a thread. That cannot be stopped: past
    the limit (``timeout_timedelta``; 2 min for a function) the answer is 500 all the same.

    :param table: from name to path, function or SafeTask; None: the application's setting
        ``dispatch_table``
    """

    def initialize(self, table: Mapping[str, object] | None = None) -> None:
        self.table = self.settings.get("dispatch_table") if table is None else table

    def check_xsrf_cookie(self) -> None:
        """None is wanted: it is no browser that posts here."""

    async def post(self) -> None:
        """Call the function."""
        try:
            entry, call = find(self.table, self.request.body)
        except Refused as refused:
            log.warning("%s: %s", refused.message, refused.error)
            self.set_status(400)
            self.write({"message": refused.message, "error": refused.error})
        else:
            await self._call(entry, call.args, call.kwargs)

    async def _call(self, entry: Entry, args: list[Any], kwargs: dict[str, Any]) -> None:
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
    """Await it in a task of its own. So a CancelledError that the function raises is its failure,
    while one that is raised here says that the request is cancelled.
    """
    task = asyncio.ensure_future(performing)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    return task.result()
