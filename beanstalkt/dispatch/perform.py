"""Runs a task with its limit and its hooks: here, on the event loop, or in a thread."""

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

from .safetask import SafeTask, TaskTimeout

log = logging.getLogger("beanstalkt.task")


@dataclass(frozen=True)
class _Step:
    call: Callable[[], object]
    #: seconds; None: no limit
    limit: float | None = None


Steps = Generator[_Step, "BaseException | None", "BaseException | None"]


def _steps(task: SafeTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Steps:
    """What is to be called, in order. It is sent what each has raised, and gives at the end what
    made the task fail."""
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
    """Run it here, in the main thread; gives what made it fail."""
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
    # Whatever it is, sys.exit() and a Stopped included: the hooks come next.
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
    """Run it on the loop, or what is no coroutine of it in a thread; gives what made it fail.

    Cancelled, it cancels ``run``, and the hooks still follow; the failure is a CancelledError
    then. A thread cannot be stopped: past the limit it is left to itself.
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
    # Whatever it is: out of a task, a KeyboardInterrupt or SystemExit would end the loop.
    except BaseException as error:
        return error
    return None


def _called(call: Callable[[], object]) -> tuple[object, BaseException | None]:
    """As values: a StopIteration cannot be raised through a future."""
    try:
        return call(), None
    except BaseException as error:
        return None, error


async def _limited(awaitable: Awaitable[Any], seconds: float | None) -> Any:
    if seconds is None:
        return await awaitable

    async def caught() -> tuple[Any, BaseException | None]:
        # A SystemExit that ended a task would end the loop.
        try:
            return await awaitable, None
        except BaseException as error:
            return None, error

    task = asyncio.ensure_future(caught())
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            task.cancel()
            await asyncio.wait({task})
            raise TaskTimeout(f"it took more than {seconds:g} s")
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    result, error = task.result()
    if error is not None:
        raise error
    return result
