"""Tasks and functions for the tests, and what they have been called with."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from typing import Any

from beanstalkt import SafeTask
from beanstalkt.worker import Retry

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task

calls: list[Any] = []


@task
def noop(*args: Any, **kwargs: Any) -> None:
    calls.append((args, kwargs))


@task
async def noop_async(*args: Any, **kwargs: Any) -> None:
    calls.append((args, kwargs))


@task(takes_context=True)
def with_context(context: Any, number: int) -> int:
    calls.append((context, number))
    return number


@task
def fails() -> None:
    raise ValueError("this task fails")


@task
async def fails_async() -> None:
    raise SystemExit("this task fails")


@task
def returns_no_json() -> Any:
    return lambda: True


@task
def again() -> None:
    raise Retry(delay=7)


@task(backend="commit")
def on_commit(number: int) -> None:
    calls.append(number)


# --- functions of a dispatch table ---


def add(left: int, right: int = 1) -> None:
    calls.append((left + right, threading.current_thread()))


async def add_async(left: int) -> None:
    await asyncio.sleep(0)
    calls.append(left)


def breaks() -> None:
    raise ValueError("broken")


def generator() -> Any:
    yield 1


class Steps(SafeTask):
    timeout_timedelta = timedelta(seconds=0.2)

    def run(self, seconds: float) -> Any:
        calls.append("run")
        time.sleep(seconds)

    def on_error(self, exception: BaseException, *args: Any, **kwargs: Any) -> None:
        calls.append(type(exception).__name__)

    def on_success(self, *args: Any, **kwargs: Any) -> None:
        calls.append("success")

    def on_completion(self, *args: Any, **kwargs: Any) -> Any:
        calls.append("completion")


class StepsAsync(Steps):
    async def run(self, seconds: float) -> None:
        calls.append("run")
        await asyncio.sleep(seconds)


released = threading.Event()


class Blocks(SafeTask):
    """Does not end when its limit has passed, as far as a thread goes."""

    timeout_timedelta = timedelta(seconds=0.1)

    def run(self) -> None:
        released.wait(20)
        calls.append("ended")
