"""Close old database connections around a task, as Django does around a request."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections, reset_queries

from ..dispatch.safetask import SafeTask
from ..dispatch.table import TableEntry

CLOSE_TIMEOUT = 1.0
"""Seconds that the connections of coroutines may take to be closed."""


def refresh() -> None:
    """Close the connections of this thread that are too old or broken; forget their queries.

    Those that are kept are tried before they are used again, also where CONN_HEALTH_CHECKS is not
    set: a worker may have had no job for hours, and a job that fails is not simply reloaded.
    """
    reset_queries()
    close_old_connections()
    for connection in connections.all(initialized_only=True):
        connection.health_check_enabled = True


def close_all() -> None:
    """Close the database connections of this thread and of coroutines, at the end of a worker."""

    async def closed() -> None:
        closing = asyncio.ensure_future(sync_to_async(connections.close_all)())
        # The thread may be busy for coroutines that were left to themselves.
        await asyncio.wait([closing], timeout=CLOSE_TIMEOUT)

    connections.close_all()
    asyncio.run(closed())


def with_fresh_connections(
    entry: TableEntry, close: Callable[[], object] = refresh
) -> type[SafeTask]:
    """Return a task that does what the entry's does, with `close` called before and after.

    :param close: called before ``run`` and after the last hook, in the thread that the task's
        database connections belong to
    """
    # Coroutines have their database connections in the thread of sync_to_async.
    close_async = sync_to_async(close)

    class Fresh(SafeTask):
        def __init__(self) -> None:
            task = self._task = entry.make()
            self.timeout_timedelta = task.timeout_timedelta
            self.verbose = task.verbose
            self.on_error = task.on_error  # type: ignore[method-assign]
            self.on_success = task.on_success  # type: ignore[method-assign]
            self.run = (  # type: ignore[method-assign]
                _coroutine(task.run) if entry.asynchronous else _function(task.run)
            )
            if entry.signature is not None:
                self.run.__signature__ = entry.signature  # type: ignore[attr-defined]

        def run(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError  # each instance has its own

        def on_completion(self, *args: Any, **kwargs: Any) -> Any:
            hook = partial(self._task.on_completion, *args, **kwargs)
            if entry.asynchronous:
                return _then_closed(hook)
            try:
                result = hook()
            finally:
                close()
            return _then_closed(lambda: result) if inspect.isawaitable(result) else result

    def _function(run: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            close()
            return run(*args, **kwargs)

        return called

    def _coroutine(run: Callable[..., Any]) -> Callable[..., Any]:
        async def called(*args: Any, **kwargs: Any) -> Any:
            await close_async()
            return await run(*args, **kwargs)

        return called

    async def _then_closed(hook: Callable[[], Any]) -> None:
        try:
            result = hook()
            if inspect.isawaitable(result):
                await result
        finally:
            await close_async()

    Fresh.__name__ = Fresh.__qualname__ = entry.name
    return Fresh
