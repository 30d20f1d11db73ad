"""What the framework's own backends promise, and what this one adds."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from datetime import timezone as zones
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt import ConnectionLost
from beanstalkt.blocking import Client
from beanstalkt.django.backend import PRIORITY_STEP, BeanstalkdBackend
from beanstalkt.django.framework import (
    InvalidTask,
    TaskResultStatus,
    task_backends,
    task_enqueued,
)

from ..support import django_tasks
from ..support.beanstalkd import free_port

Choose = Callable[..., None]


@pytest.mark.parametrize("task", [django_tasks.noop, django_tasks.noop_async])
def test_enqueue_puts_a_job_and_returns_a_result_that_is_ready(client: Client, task: Any) -> None:
    begin = timezone.now()
    result = task.enqueue(1, two=[3])
    assert result.status == TaskResultStatus.READY
    assert not result.is_finished
    assert begin <= result.enqueued_at <= timezone.now()
    assert result.started_at is result.finished_at is result.last_attempted_at is None
    assert (result.args, result.kwargs, result.attempts) == ([1], {"two": [3]}, 0)
    assert result.task == task
    assert result.backend == "default"
    with pytest.raises(ValueError, match="not finished"):
        _ = result.return_value
    job = client.reserve(0)
    call = json.loads(job.body)
    assert call["function"] == f"task:tests.support.django_tasks.{task.name}"
    assert call["kwargs"]["id"] == result.id
    assert (call["kwargs"]["args"], call["kwargs"]["kwargs"]) == ([1], {"two": [3]})
    stats = job.stats()
    assert (stats["pri"], stats["delay"], stats["ttr"]) == (2**31, 0, 77)


async def test_aenqueue_does_so_too(client: Client) -> None:
    result = await django_tasks.noop_async.aenqueue(1)
    assert result.status == TaskResultStatus.READY
    assert json.loads(client.reserve(0).body)["kwargs"]["id"] == result.id


def test_ids_are_unique(client: Client) -> None:
    assert len({django_tasks.noop.enqueue().id for _ in range(20)}) == 20


def test_the_queue_is_the_tube(client: Client) -> None:
    django_tasks.noop.using(queue_name="mail").enqueue()
    assert client.stats_tube("mail")["current-jobs-ready"] == 1


@pytest.mark.parametrize("queue", ["two words", "-dash", "ü", "x" * 201])
def test_a_queue_that_is_no_tube_is_an_invalid_task(client: Client, queue: str) -> None:
    with pytest.raises(InvalidTask, match="is not the name of a tube"):
        django_tasks.noop.using(queue_name=queue).enqueue()


def test_a_queue_that_the_settings_do_not_name_is_an_invalid_task(client: Client) -> None:
    with pytest.raises(InvalidTask, match=r"'other' is not valid.*'commit'.*has 'default'"):
        django_tasks.on_commit.using(queue_name="other")


@pytest.mark.parametrize("priority", [-100, -1, 0, 1, 100])
def test_a_higher_priority_is_more_urgent(client: Client, priority: int) -> None:
    django_tasks.noop.using(priority=priority).enqueue()
    assert client.reserve(0).stats()["pri"] == 2**31 - priority * PRIORITY_STEP


@given(st.lists(st.integers(-100, 100), min_size=2, max_size=2, unique=True))
def test_priorities_keep_their_order_and_are_priorities_of_jobs(pair: list[int]) -> None:
    low, high = (2**31 - each * PRIORITY_STEP for each in sorted(pair))
    assert 0 <= high < low < 2**32


@pytest.mark.parametrize("priority", [-101, 101, 0.5])
def test_no_other_priority_is_valid(client: Client, priority: Any) -> None:
    with pytest.raises(InvalidTask, match="whole number"):
        django_tasks.noop.using(priority=priority)


@pytest.mark.parametrize("use_tz", [True, False])
def test_run_after_is_a_delay(client: Client, chosen: Choose, use_tz: bool) -> None:
    chosen(USE_TZ=use_tz)
    django_tasks.noop.using(run_after=timezone.now() + timedelta(hours=1)).enqueue()
    job = client.peek_delayed(tube="default")
    assert 3590 < job.stats()["delay"] <= 3600


def test_a_job_is_never_ready_before_run_after(client: Client) -> None:
    after = timezone.now() + timedelta(seconds=1.2)
    django_tasks.noop.using(run_after=after).enqueue()
    client.reserve(20)
    assert time.time() >= after.timestamp()


def test_another_time_zone_is_the_same_moment(client: Client) -> None:
    there = zones(timedelta(hours=-9))
    django_tasks.noop.using(run_after=datetime.now(there) + timedelta(minutes=1)).enqueue()
    assert 50 < client.peek_delayed(tube="default").stats()["delay"] <= 60


def test_what_is_past_is_ready_at_once(client: Client) -> None:
    django_tasks.noop.using(run_after=timezone.now() - timedelta(days=1)).enqueue()
    assert client.reserve(0).stats()["delay"] == 0


def test_run_after_must_be_aware_and_within_what_a_server_can_wait(client: Client) -> None:
    with pytest.raises(InvalidTask, match="aware"):
        django_tasks.noop.using(run_after=datetime(2030, 1, 1))
    with pytest.raises(InvalidTask, match="run_after must be less than"):
        django_tasks.noop.using(run_after=timezone.now() + timedelta(days=60_000))


def test_a_naive_run_after_that_is_no_moment_is_an_invalid_task(
    client: Client, chosen: Choose
) -> None:
    chosen(USE_TZ=False)
    with pytest.raises(InvalidTask, match="run_after cannot be 0001-01-01"):
        django_tasks.noop.using(run_after=datetime.min)


@pytest.mark.parametrize(
    "value", [datetime.now(), object(), {1, 2}, float("nan"), {5: 1}, b"\xff", lambda: 1]
)
def test_nothing_is_sent_that_is_not_json(client: Client, value: Any) -> None:
    for task in (django_tasks.noop, django_tasks.on_commit):
        with pytest.raises((TypeError, ValueError)), transaction.atomic():
            task.enqueue(value)
    assert client.stats()["total-jobs"] == 0


@pytest.mark.parametrize("value", [object(), float("nan"), {5: 1}])
def test_on_commit_what_is_not_json_is_told_by_the_call(client: Client, value: Any) -> None:
    with transaction.atomic(), pytest.raises((TypeError, ValueError)):
        django_tasks.on_commit.enqueue(value)


async def test_nothing_is_sent_that_is_not_json_from_a_loop_either(client: Client) -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        await django_tasks.noop.aenqueue(datetime.now())
    assert client.stats()["total-jobs"] == 0


def test_a_tuple_and_bytes_arrive_as_the_framework_says(client: Client) -> None:
    result = django_tasks.noop.enqueue((1, 2), b"text")
    assert result.args == [[1, 2], "text"]
    assert json.loads(client.reserve(0).body)["kwargs"]["args"] == [[1, 2], "text"]


def test_on_commit_puts_nothing_before_the_commit(client: Client) -> None:
    with transaction.atomic():
        result = django_tasks.on_commit.enqueue(1)
        assert result.enqueued_at is None
        assert client.stats()["total-jobs"] == 0
    assert result.enqueued_at is not None
    assert json.loads(client.reserve(0).body)["kwargs"]["id"] == result.id


def test_on_commit_puts_nothing_that_is_rolled_back(client: Client) -> None:
    with transaction.atomic():
        django_tasks.on_commit.enqueue(1)
        transaction.set_rollback(True)
    assert client.stats()["total-jobs"] == 0


def test_on_commit_puts_at_once_outside_of_a_transaction(client: Client) -> None:
    assert django_tasks.on_commit.enqueue(1).enqueued_at is not None
    assert client.stats()["total-jobs"] == 1


def test_on_commit_waits_for_the_database_that_is_named(client: Client) -> None:
    task = django_tasks.on_commit.using(backend="commit_other")
    with transaction.atomic(using="other"):
        with transaction.atomic():  # that of another database does not matter
            task.enqueue(1)
        assert client.stats()["total-jobs"] == 0
    assert client.stats()["total-jobs"] == 1
    with transaction.atomic(using="other"):
        task.enqueue(1)
        transaction.set_rollback(True, using="other")
    assert client.stats()["total-jobs"] == 1


def test_without_the_option_a_task_is_put_within_the_transaction(client: Client) -> None:
    with transaction.atomic():
        assert django_tasks.noop.enqueue().enqueued_at is not None
        assert client.stats()["total-jobs"] == 1


def test_the_signal_is_sent_once_the_task_is_put(client: Client, chosen: Choose) -> None:
    sent: list[Any] = []

    def receive(sender: Any, task_result: Any, **_: Any) -> None:
        sent.append((sender, task_result, client.stats()["total-jobs"]))

    task_enqueued.connect(receive)
    try:
        result = django_tasks.noop.enqueue()
        assert sent == [(BeanstalkdBackend, result, 1)]
        chosen(BEANSTALKT={"SERVER": f"beanstalk://127.0.0.1:{free_port()}"})
        with pytest.raises(ConnectionLost):
            django_tasks.noop.enqueue()
        assert len(sent) == 1
    finally:
        task_enqueued.disconnect(receive)


async def test_results_are_refused_with_the_error_of_the_framework(client: Client) -> None:
    refused = pytest.raises(NotImplementedError, match="does not support retrieving or refresh")
    backend = task_backends["default"]
    result = await django_tasks.noop.aenqueue()
    with refused:
        backend.get_result("123")
    with refused:
        await backend.aget_result("123")
    with refused:
        django_tasks.noop.get_result(result.id)
    with refused:
        result.refresh()
    with refused:
        await result.arefresh()


def test_the_backend_says_what_it_supports() -> None:
    backend = task_backends["default"]
    assert isinstance(backend, BeanstalkdBackend)
    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_priority
    assert not backend.supports_get_result


def test_a_task_is_validated_again_when_it_is_put(client: Client, chosen: Choose) -> None:
    task = django_tasks.noop.using(queue_name="unknown")
    chosen(TASKS={"default": {"BACKEND": f"{BeanstalkdBackend.__module__}.BeanstalkdBackend"}})
    with pytest.raises(InvalidTask, match="'unknown' is not valid"):
        task.enqueue()
    assert client.stats()["total-jobs"] == 0


def test_a_function_within_another_is_no_task() -> None:
    def inner() -> None: ...

    with pytest.raises(InvalidTask, match="module level"):
        replace(django_tasks.noop, func=inner)


def test_an_enqueued_task_may_be_pickled(client: Client) -> None:
    if not hasattr(type(django_tasks.noop), "_reconstruct"):
        pytest.skip("this version of the framework cannot pickle tasks")
    assert pickle.loads(pickle.dumps(django_tasks.noop)) == django_tasks.noop
