"""A task: a function with a time limit and hooks."""

from __future__ import annotations

import abc
from datetime import timedelta
from typing import Any


class TaskTimeout(TimeoutError):
    """Report that ``run`` has taken longer than its ``timeout_timedelta``."""


class Stopped(BaseException):
    """Tell a plain function in a child process to end; it is raised in the function.

    The time limit of its tube has passed, or the runner stops. The child process is killed if the
    function has not ended within the runner's ``kill_grace``. A coroutine function gets a
    CancelledError instead.
    """


class SafeTask(abc.ABC):
    """A function with a time limit and hooks: subclass it, and name the class in the table.

    ``run`` and the hooks get the arguments of the call. Each may be a coroutine function; if
    ``run`` is one, plain hooks are called on the event loop and must not block it. A new instance
    is made for each job.
    """

    #: how long ``run`` may take; None: as long as the runner allows, whose limit always holds
    timeout_timedelta: timedelta | None = timedelta(minutes=2)
    #: whether a failure is logged with its traceback, by the logger ``beanstalkt.task``
    verbose: bool = False

    @abc.abstractmethod
    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work of one job.

        The task succeeds when this returns anything, and fails when it raises.
        """

    def on_error(self, exception: BaseException, *args: Any, **kwargs: Any) -> Any:  # noqa: B027
        """Handle an exception that ``run`` has raised, also when it was stopped."""

    def on_success(self, *args: Any, **kwargs: Any) -> Any:  # noqa: B027
        """Do what is to follow when ``run`` has returned."""

    def on_completion(self, *args: Any, **kwargs: Any) -> Any:  # noqa: B027
        """Do what is to follow in any case, after the other hooks."""
