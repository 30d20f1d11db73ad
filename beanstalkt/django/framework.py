"""The tasks framework: that of Django 6.0 and later, or the package django-tasks before it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec


def available() -> bool:
    """Return whether there is a tasks framework."""
    return find_spec("django.tasks") is not None or find_spec("django_tasks") is not None


if find_spec("django.tasks") is not None:
    from django.tasks import TaskContext, TaskResult, TaskResultStatus, task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task, TaskError
    from django.tasks.exceptions import InvalidTask
    from django.tasks.signals import task_enqueued, task_finished, task_started

    normalize_json = import_module("django.utils.json").normalize_json
elif available():
    from django_tasks import TaskContext, TaskResult, TaskResultStatus, task_backends
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import Task, TaskError
    from django_tasks.exceptions import InvalidTaskError as InvalidTask
    from django_tasks.signals import task_enqueued, task_finished, task_started

    normalize_json = import_module("django_tasks.utils").normalize_json
else:
    raise ImportError(
        "there is no tasks framework: install Django 6.0 or later, or django-tasks for older ones"
    )

__all__ = [
    "BaseTaskBackend",
    "InvalidTask",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultStatus",
    "available",
    "normalize_json",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]
