"""Runs a task with its limit and its hooks: in the main thread, on the loop, or in a thread."""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from ..client.transport import within
from .safetask import SafeTask, TaskTimeout

log = logging.getLogger("beanstalkt.task")


@dataclass(frozen=True)
class _Step:
    """A call to make: of the task's ``run``, or of a hook."""

    call: Callable[[], object]
    #: seconds that the call may take; None: no limit
    limit: float | None = None


Steps = Generator[_Step, "BaseException | None", "BaseException | None"]


def _steps(task: SafeTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Steps:
    """Yield the calls to make, in order; return the exception that made the task fail.

    Each yield must be sent the exception that the call has raised, or None.
    """
    name = type(task).__qualname__
    limit = None if task.timeout_timedelta is None else task.timeout_timedelta.total_seconds()
    failure = yield _Step(partial(task.run, *args, **kwargs), limit)
    if failure is None:
        hook = partial(task.on_success, *args, **kwargs)
    else:
        if task.verbose:
            log.error("%s has failed", name, exc_info=failure)
        hook = partial(task.on_error, failure, *args, **kwargs)
    for step in (hook, partial(task.on_completion, *args, **kwargs)):
        error = yield _Step(step)
        if error is not None:
            log.error("%s: %s has failed", name, step.func.__name__, exc_info=error)
            failure = failure or error
    return failure


def perform(
    task: SafeTask, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> BaseException | None:
    """Run a task in the main thread; return the exception that made it fail, or None."""
    steps = _steps(task, args, kwargs)
    try:
        step = next(steps)
        while True:
            step = steps.send(_attempt(step))
    except StopIteration as end:
        failure: BaseException | None = end.value
        return failure


def _attempt(step: _Step) -> BaseException | None:
    try:
        with _alarm(step.limit):
            result = step.call()
            if inspect.iscoroutine(result):
                asyncio.run(result)
    # SystemExit and Stopped included: the hooks must be called after any of them.
    except BaseException as error:
        return error
    return None


@contextmanager
def _alarm(seconds: float | None) -> Iterator[None]:
    if seconds is None:
        yield
        return

    def expired(*_: object) -> NoReturn:
        raise TaskTimeout(f"it took more than {seconds:g} s")

    signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


async def perform_async(
    task: SafeTask,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    in_thread: bool = False,
) -> BaseException | None:
    """Run a task on the event loop; return the exception that made it fail, or None.

    When this is cancelled, it cancels ``run``, and then calls the hooks; the exception is a
    CancelledError. A thread cannot be stopped: past the limit it is left to itself.

    :param in_thread: call plain functions in a thread
    """
    steps = _steps(task, args, kwargs)
    try:
        step = next(steps)
        while True:
            step = steps.send(await _attempt_async(step, in_thread))
    except StopIteration as end:
        failure: BaseException | None = end.value
        return failure


async def _attempt_async(step: _Step, in_thread: bool) -> BaseException | None:
    try:
        if in_thread:
            loop = asyncio.get_running_loop()
            call = loop.run_in_executor(None, _called, step.call)
            result, raised = await _limited(call, step.limit)
            if raised is not None:
                raise raised
        else:
            result = step.call()
        if inspect.isawaitable(result):
            await _limited(result, step.limit)
    # A KeyboardInterrupt or SystemExit that left a task would end the loop.
    except BaseException as error:
        return error
    return None


def _called(call: Callable[[], object]) -> tuple[object, BaseException | None]:
    """Return the result and the exception: a StopIteration cannot be raised through a future."""
    try:
        return call(), None
    except BaseException as error:
        return None, error


async def _limited(awaitable: Awaitable[Any], seconds: float | None) -> Any:
    """Return the result of an awaitable. Raises TaskTimeout if it takes more than `seconds`."""
    if seconds is None:
        return await awaitable
    try:
        result, error = await within(seconds, _outcome(awaitable))
    except OSError:  # the task's own errors are returned
        raise TaskTimeout(f"it took more than {seconds:g} s") from None
    if error is not None:
        raise error
    return result


async def _outcome(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Return the result and the exception: a SystemExit that left a task would end the loop."""
    try:
        return await awaitable, None
    except BaseException as error:
        return None, error
