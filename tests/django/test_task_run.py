from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from beanstalkt.blocking import Client
from beanstalkt.django.framework import TaskContext, TaskResultStatus, task_finished, task_started
from beanstalkt.django.task_run import runner_of
from beanstalkt.worker import Retry

from ..support import django_tasks

Choose = Callable[..., None]


@pytest.fixture
def signals() -> Iterator[list[Any]]:
    """The results that the framework's signals were sent with, each with its status then."""
    sent: list[Any] = []

    def started(task_result: Any, **_: Any) -> None:
        sent.append(("started", task_result.status, task_result))

    def finished(task_result: Any, **_: Any) -> None:
        sent.append(("finished", task_result.status, task_result))

    task_started.connect(started)
    task_finished.connect(finished)
    django_tasks.calls.clear()
    yield sent
    task_started.disconnect(started)
    task_finished.disconnect(finished)


def body(client: Client, task: Any, *args: Any, **kwargs: Any) -> Any:
    """What the runner calls the task's entry with, after a way through the server."""
    task.enqueue(*args, **kwargs)
    job = client.reserve(0)
    job.delete()
    return json.loads(job.body)["kwargs"]


def test_a_task_runs_with_its_arguments(client: Client, signals: list[Any]) -> None:
    runner_of(django_tasks.noop)(**body(client, django_tasks.noop, 1, two=3))
    assert django_tasks.calls == [((1,), {"two": 3})]
    assert [each[:2] for each in signals] == [
        ("started", TaskResultStatus.RUNNING),
        ("finished", TaskResultStatus.SUCCESSFUL),
    ]
    result = signals[-1][2]
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert result.return_value is None
    assert result.attempts == 1


async def test_a_coroutine_task_runs_on_the_loop(client: Client, signals: list[Any]) -> None:
    run = runner_of(django_tasks.noop_async)
    assert inspect.iscoroutinefunction(run)
    await run(**body(client, django_tasks.noop_async, 1))
    assert django_tasks.calls == [((1,), {})]
    assert [each[1] for each in signals] == ["RUNNING", "SUCCESSFUL"]


def test_the_context_has_the_id_queue_and_priority(client: Client, signals: list[Any]) -> None:
    task = django_tasks.with_context.using(priority=5, queue_name="default")
    said = body(client, task, 7)
    runner_of(django_tasks.with_context)(**said)
    ((context, number),) = django_tasks.calls
    assert isinstance(context, TaskContext)
    assert number == 7
    assert context.task_result.id == said["id"]
    assert (context.task_result.task.priority, context.task_result.args) == (5, [7])
    assert signals[-1][2].return_value == 7


def test_what_a_task_raises_fails_it_and_reaches_the_runner(
    client: Client, signals: list[Any]
) -> None:
    with pytest.raises(ValueError, match="this task fails"):
        runner_of(django_tasks.fails)(**body(client, django_tasks.fails))
    result = signals[-1][2]
    assert signals[-1][:2] == ("finished", TaskResultStatus.FAILED)
    (error,) = result.errors
    assert error.exception_class is ValueError
    assert error.traceback.endswith("ValueError: this task fails\n")


async def test_sys_exit_in_a_coroutine_task_fails_it(client: Client, signals: list[Any]) -> None:
    with pytest.raises(SystemExit):
        await runner_of(django_tasks.fails_async)(**body(client, django_tasks.fails_async))
    assert signals[-1][2].errors[0].exception_class is SystemExit


def test_a_value_that_is_not_json_fails_the_task_as_the_framework_says(
    client: Client, signals: list[Any]
) -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        runner_of(django_tasks.returns_no_json)(**body(client, django_tasks.returns_no_json))
    assert signals[-1][1] == TaskResultStatus.FAILED


def test_a_task_that_is_to_run_again_is_not_finished(client: Client, signals: list[Any]) -> None:
    with pytest.raises(Retry):
        runner_of(django_tasks.again)(**body(client, django_tasks.again))
    assert [each[0] for each in signals] == ["started"]
