"""The dispatch table of a worker, for ``beanstalkt work --call beanstalkt.django.table:TABLE``.

It has the functions of the settings, and each task of the project if one of its task backends is
``BeanstalkdBackend``. Importing this module sets Django up, where that has not been done: the
child processes that run functions begin with it.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.db import connections
from django.utils.module_loading import autodiscover_modules

from ..dispatch.safetask import SafeTask
from ..dispatch.table import make_entry
from . import log
from .configuration import configuration
from .fresh_connections import with_fresh_connections

DEFAULT_QUEUE = "default"
"""The queue of a task that names none, in Django's tasks framework."""

MODULES = "DJANGO_BEANSTALKT_MODULES"
"""The variable by which a worker tells its child processes which modules have tasks."""

_told: list[str] = []


def backends() -> list[Any]:
    """Return the task backends of the settings that put tasks into beanstalkd."""
    if not getattr(settings, "TASKS", None):
        return []
    from .backend import BeanstalkdBackend
    from .framework import task_backends

    return [each for each in task_backends.all() if isinstance(each, BeanstalkdBackend)]


def tubes() -> dict[str, int | None]:
    """Return the tubes to work on: those of the settings; else that for functions, and queues.

    A backend that takes any queue is worked on its default one.
    """
    chosen = configuration()
    if chosen.tubes:
        return dict(chosen.tubes)
    queues = {queue for backend in backends() for queue in backend.queues or {DEFAULT_QUEUE}}
    return dict.fromkeys([*([chosen.tube] if chosen.table else []), *sorted(queues)])


def _tasks() -> Iterator[Any]:
    """Import the modules with tasks, and find every task of a module that is loaded."""
    from .framework import Task

    autodiscover_modules("tasks")
    for name in (*configuration().task_modules, *_told):
        import_module(name)
    for module in list(sys.modules.values()):
        for value in list(getattr(module, "__dict__", {}).values()):
            # Not isinstance: that makes a lazy object, such as Django has many, load itself.
            if issubclass(type(value), Task):
                yield value


def make_table() -> dict[str, type[SafeTask]]:
    """Make the dispatch table of all apps.

    Raises TableError and whatever an imported module raises.
    """
    targets = dict(configuration().table)
    if backends():
        from .backend import NAME
        from .task_run import runner_of

        targets.update((NAME + task.module_path, runner_of(task)) for task in _tasks())
    return {
        name: with_fresh_connections(make_entry(name, target)) for name, target in targets.items()
    }


def tell_children() -> None:
    """Have the child processes of this worker import every module that has a task here.

    The system checks have imported the views, and whatever those import; a child does not.
    """
    from .backend import NAME

    paths = [name.removeprefix(NAME) for name in TABLE if name.startswith(NAME)]
    os.environ[MODULES] = " ".join(sorted({path.rpartition(".")[0] for path in paths}))


if not apps.ready:
    # This is a child process. (A program that a task starts has the variable too.)
    _told += os.environ.get(MODULES, "").split()
    _handlers = log.root_handlers()  # those of the runner
    django.setup()
    atexit.register(connections.close_all)
    if _handlers:
        log.leave_to_runner(_handlers)
log.enable()

TABLE = make_table()
"""What a worker may call, by name."""
