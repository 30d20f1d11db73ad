"""Run a task of Django's tasks framework in a worker, with the signals of the framework."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from inspect import Parameter, Signature, iscoroutinefunction
from traceback import format_exception
from typing import Any, cast

from django.utils import timezone

from ..worker import Retry
from .framework import (
    TaskContext,
    TaskError,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    task_finished,
    task_started,
)

SAID = Signature(
    [
        *(
            Parameter(name, Parameter.KEYWORD_ONLY)
            for name in (
                "id",
                "args",
                "kwargs",
                "backend",
                "queue_name",
                "priority",
                "enqueued_at",
            )
        ),
        Parameter("others", Parameter.VAR_KEYWORD),
    ]
)
"""What the body of a job says of its task; without one of these the job is refused. A later
version may put more into it, which this one ignores."""


def runner_of(task: Any) -> Callable[..., Any]:
    """Return a function that runs the task for one job, a coroutine function if the task is one.

    Its arguments are what ``backend`` writes into the body of a job. It raises what the task
    raises, so that the runner decides what becomes of the job.
    """

    def run(**said: Any) -> None:
        result = _started(task, said)
        sender = type(result.task.get_backend())
        task_started.send(sender, task_result=result)
        try:
            _set(
                result,
                _return_value=normalize_json(task.func(*_arguments(result), **said["kwargs"])),
            )
        except Retry:
            raise  # it is not finished, but ready to be run again
        except BaseException as error:
            _failed(result, error)
            task_finished.send(sender, task_result=result)
            raise
        _succeeded(result)
        task_finished.send(sender, task_result=result)

    async def run_async(**said: Any) -> None:
        result = _started(task, said)
        sender = type(result.task.get_backend())
        await task_started.asend(sender, task_result=result)
        try:
            value = await task.func(*_arguments(result), **said["kwargs"])
            _set(result, _return_value=normalize_json(value))
        except Retry:
            raise
        except BaseException as error:
            _failed(result, error)
            await task_finished.asend(sender, task_result=result)
            raise
        _succeeded(result)
        await task_finished.asend(sender, task_result=result)

    runner: Any = run_async if iscoroutinefunction(task.func) else run
    runner.__signature__ = SAID
    return cast(Callable[..., Any], runner)


def _started(task: Any, said: dict[str, Any]) -> Any:
    """Return the result of a task that starts now."""
    now = timezone.now()
    enqueued_at = said["enqueued_at"]
    return TaskResult(
        task=replace(
            task,
            backend=said["backend"],
            queue_name=said["queue_name"],
            priority=said["priority"],
            run_after=None,
        ),
        id=said["id"],
        status=TaskResultStatus.RUNNING,
        enqueued_at=enqueued_at and datetime.fromisoformat(enqueued_at),
        started_at=now,
        last_attempted_at=now,
        finished_at=None,
        args=said["args"],
        kwargs=said["kwargs"],
        backend=said["backend"],
        errors=[],
        worker_ids=[f"{socket.gethostname()}:{os.getpid()}"],
    )


def _arguments(result: Any) -> list[Any]:
    context = [TaskContext(task_result=result)] if result.task.takes_context else []
    return [*context, *result.args]


def _set(result: Any, **values: Any) -> None:
    # The results of the framework are frozen for everybody but its backends.
    for name, value in values.items():
        object.__setattr__(result, name, value)


def _succeeded(result: Any) -> None:
    _set(result, finished_at=timezone.now(), status=TaskResultStatus.SUCCESSFUL)


def _failed(result: Any, error: BaseException) -> None:
    kind = type(error)
    result.errors.append(
        TaskError(
            exception_class_path=f"{kind.__module__}.{kind.__qualname__}",
            traceback="".join(format_exception(error)),
        )
    )
    _set(result, finished_at=timezone.now(), status=TaskResultStatus.FAILED)
