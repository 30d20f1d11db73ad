"""A function with a time limit and hooks."""

from __future__ import annotations

import abc
from datetime import timedelta
from typing import Any


class TaskTimeout(TimeoutError):
    """``run`` has taken longer than its ``timeout_timedelta``."""


class Stopped(BaseException):
    """Raised in a plain function that runs in a child process and is told to end: its tube's
    time limit has passed, or the runner stops. What is not over within the runner's
    ``kill_grace`` is killed. (A coroutine function gets a CancelledError.)"""


class SafeTask(abc.ABC):
    """A function with a time limit and hooks: subclass it, and name the class in the table.

    ``run`` gets the arguments of the call, and so do the hooks. Each may be a coroutine function;
    where ``run`` is one, plain hooks are called on the event loop and must not block it. Each
    job has an instance of its own.
    """

    #: how long ``run`` may take; None: as long as the runner allows, whose limit holds in any case
    timeout_timedelta: timedelta | None = timedelta(minutes=2)
    #: whether a failure is logged with its traceback, in the logger ``beanstalkt.task``
    verbose: bool = False

    @abc.abstractmethod
    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work. Returning is success, whatever it returns; raising is failure."""

    def on_error(self, exception: BaseException, *args: Any, **kwargs: Any) -> Any:  # noqa: B027
        """Called when ``run`` has raised, or has been stopped."""

    def on_success(self, *args: Any, **kwargs: Any) -> Any:  # noqa: B027
        """Called when ``run`` has returned."""

    def on_completion(self, *args: Any, **kwargs: Any) -> Any:  # noqa: B027
        """Called last, always."""
