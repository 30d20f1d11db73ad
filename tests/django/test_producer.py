from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from beanstalkt import ConnectionLost, InvalidArgument
from beanstalkt.blocking import Client
from beanstalkt.dispatch import Scheduled
from beanstalkt.django import producer, schedule_function

from ..support.beanstalkd import Beanstalkd, free_port

Choose = Callable[..., None]


def test_a_function_is_scheduled_as_a_job(client: Client) -> None:
    job = client.peek(schedule_function("mail", "send", "ada", subject="Hello"))
    assert json.loads(job.body) == {
        "function": "send",
        "args": ["ada"],
        "kwargs": {"subject": "Hello"},
    }
    assert client.stats_job(job.id)["tube"] == "mail"


def test_without_a_tube_it_is_put_into_that_of_the_settings(client: Client) -> None:
    assert client.stats_job(schedule_function(None, "send"))["tube"] == "home"


def test_how_the_job_is_put_goes_with_the_name(client: Client) -> None:
    job_id = schedule_function("mail", Scheduled("send", priority=3, delay=60, ttr=9), delay="x")
    stats = client.stats_job(job_id)
    assert (stats["pri"], stats["state"], stats["ttr"]) == (3, "delayed", 9)


@pytest.mark.parametrize("value", [object(), float("nan"), b"bytes", (1, 2), {1: 2}])
def test_nothing_is_sent_that_would_not_arrive(client: Client, value: Any) -> None:
    with pytest.raises(InvalidArgument):
        schedule_function("mail", "send", value)
    assert "mail" not in client.list_tubes()


def test_a_name_that_is_not_in_the_table_of_this_process_is_refused(
    client: Client, chosen: Choose
) -> None:
    chosen(BEANSTALK_DISPATCH_TABLE={"add": "tests.support.django_tasks.add"})
    with pytest.raises(InvalidArgument, match="'sub' in the dispatch table: it has add"):
        schedule_function("mail", "sub", 1)
    assert schedule_function("mail", "add", 1)


def test_on_commit_nothing_is_put_that_is_rolled_back(client: Client) -> None:
    with transaction.atomic():
        transaction.on_commit(partial(schedule_function, "mail", "send", 1))
        assert "mail" not in client.list_tubes()
    assert client.stats_tube("mail")["current-jobs-ready"] == 1
    with transaction.atomic():
        transaction.on_commit(partial(schedule_function, "mail", "send", 2))
        transaction.set_rollback(True)
    assert client.stats_tube("mail")["current-jobs-ready"] == 1


def test_threads_share_one_connection(client: Client) -> None:
    before = client.stats()["current-connections"]
    threads = [
        threading.Thread(target=lambda: schedule_function("mail", "send")) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert client.stats_tube("mail")["total-jobs"] == 8
    assert client.stats()["current-connections"] == before + 1


def test_no_thread_waits_for_the_others_without_a_limit(
    beanstalkd: Beanstalkd, chosen: Choose
) -> None:
    """Each of six threads would wait for those before it: 1 s, 2 s, ... 6 s."""
    chosen(BEANSTALKT={"SERVER": beanstalkd.url, "CLIENT": {"response_timeout": 1}})
    schedule_function("mail", "send")
    waits: list[float] = []
    errors: list[str] = []

    def call() -> None:
        begin = time.monotonic()
        try:
            schedule_function("mail", "send")
        except ConnectionLost as error:
            errors.append(str(error))
        waits.append(time.monotonic() - begin)

    threads = [threading.Thread(target=call) for _ in range(6)]
    beanstalkd.freeze()
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        beanstalkd.thaw()
    assert len(errors) == 6
    assert max(waits) < 4
    assert any("has not answered other threads" in error for error in errors)
    assert schedule_function("mail", "send")


def test_a_child_does_not_wait_for_threads_of_its_parent(client: Client) -> None:
    producer._turn.begin(1, "")  # as if by a thread that the child does not have
    try:
        child = os.fork()
        if not child:
            free = threading.Thread(target=producer._turn.begin, args=(60, ""))
            free.start()
            free.join(20)
            os._exit(free.is_alive())
    finally:
        producer._turn.end()
    assert os.waitpid(child, 0)[1] == 0


def test_the_server_may_restart_between_two_calls(
    client: Client, beanstalkd: Beanstalkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beanstalkt.blocking.client_connection.IDLE", 0)  # the restart takes less
    schedule_function("mail", "send")
    beanstalkd.restart()
    assert schedule_function("mail", "send") == 1


def test_without_a_server_the_call_says_so(chosen: Choose) -> None:
    chosen(BEANSTALKT={"SERVER": f"beanstalk://127.0.0.1:{free_port()}"})
    with pytest.raises(ConnectionLost, match="no connection"):
        schedule_function("mail", "send")


def test_other_settings_are_another_client(client: Client, chosen: Choose) -> None:
    mine = producer.client()
    assert producer.client() is mine
    chosen(BEANSTALKT={"SERVER": "beanstalk://127.0.0.1:1"})
    assert producer.client() is not mine
    assert mine.closed()
