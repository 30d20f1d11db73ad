"""Python functions as jobs: schedule them, list them in tables, call them over HTTP.

:func:`schedule_function` puts a job that names a function and its arguments. The runner
(``work --call package.module:TABLE``) or :class:`DispatcherHandler` looks the name up in a
dispatch table, ``name → module.path.to.function``, and calls it. :class:`SafeTask` is a function
with a time limit and hooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .safetask import SafeTask, Stopped, TaskTimeout
from .schedule import Scheduled, schedule_function

if TYPE_CHECKING:
    from .web import DispatcherHandler

__all__ = [
    "DispatcherHandler",
    "SafeTask",
    "Scheduled",
    "Stopped",
    "TaskTimeout",
    "schedule_function",
]

if not TYPE_CHECKING:  # to a type checker, any name would exist

    def __getattr__(name: str) -> object:
        # tornado.web is large, and is needed neither by a program that only schedules functions
        # nor by a child that only calls them.
        if name == "DispatcherHandler":
            from .web import DispatcherHandler

            return DispatcherHandler
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
