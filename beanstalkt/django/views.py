"""The view that calls the function a request says."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connections
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from ..dispatch.call import Call
from ..dispatch.perform import perform, perform_async
from ..dispatch.request import Refused, find
from ..dispatch.safetask import SafeTask
from ..dispatch.table import TableEntry, brief
from .configuration import configuration

log = logging.getLogger("beanstalkt.dispatch")


@csrf_exempt
@require_POST
def dispatcher(request: HttpRequest) -> JsonResponse:
    """Answer a POST whose body is that of a scheduled job (plain or base64) by calling it.

    200 when the task succeeded; 500 when it failed, so that the sender tries again; 400 with
    ``{"message", "error"}`` for a request that can never succeed, where ``message`` is one of
    five: no table configured, missing argument (also for a body that cannot be read, or arguments
    that the function does not take), function not found, unable to locate, not a SafeTask.

    A function is stopped at its limit (``timeout_timedelta``; 2 min for a plain function) where
    requests are served in the main thread of a process. Another thread cannot be stopped: past
    the limit the answer is 500 all the same.

    Where requests are atomic (ATOMIC_REQUESTS), what a failed function has written is rolled back,
    if it ran in the thread of the request: in the main thread of a process, or a coroutine.
    """
    try:
        entry, call = find(configuration().table, request.body)
    except Refused as refused:
        log.warning("%s: %s", refused.message, refused.error)
        return JsonResponse({"message": refused.message, "error": refused.error}, status=400)
    failure = _called(entry, call)
    if failure is None:
        return JsonResponse({})
    log.error("%s has failed", entry.name, exc_info=failure)
    _roll_back()
    return JsonResponse({"message": "the task failed", "error": brief(failure)}, status=500)


def _roll_back() -> None:
    """Roll the transaction of the request back, as Django does when a view raises."""
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["ATOMIC_REQUESTS"] and connection.in_atomic_block:
            connection.set_rollback(True)


def _called(entry: TableEntry, call: Call) -> BaseException | None:
    """Call the function with its limit and its hooks; return what made it fail."""
    try:
        task = entry.make()
    except BaseException as error:
        return error
    if entry.asynchronous:
        failure: BaseException | None = async_to_sync(perform_async)(task, call.args, call.kwargs)
        return failure
    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGALRM)
        try:
            return perform(task, call.args, call.kwargs)
        finally:
            signal.signal(signal.SIGALRM, handler)
    return _performed_apart(task, call)


def _performed_apart(task: SafeTask, call: Call) -> BaseException | None:
    """Perform a task in threads of its own, which are left to themselves past its limit."""
    executor = _Executor()
    # A loop of its own: the end of asyncio.run() waits also for a thread that does not end.
    loop = asyncio.new_event_loop()
    loop.set_default_executor(executor)
    try:
        performing = perform_async(task, call.args, call.kwargs, in_thread=True)
        return loop.run_until_complete(performing)
    finally:
        executor.shutdown(wait=False)
        loop.close()


class _Executor(ThreadPoolExecutor):
    """Close the database connections of a thread after each call: no request would."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def call() -> Any:
            try:
                return fn(*args, **kwargs)
            finally:
                connections.close_all()

        return super().submit(call)
