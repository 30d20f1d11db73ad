from __future__ import annotations

import asyncio
import base64
import json
import signal
import threading
from collections.abc import Callable, Iterator
from sqlite3 import ProgrammingError
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import AsyncClient, Client

from beanstalkt.dispatch.call import encode

from ..support import django_tasks
from ..support.waiting import block_until

Choose = Callable[..., None]
URL = "/beanstalk_dispatch/dispatcher"
HERE = "tests.support.django_tasks."
TABLE = {
    "add": HERE + "add",
    "add_async": HERE + "add_async",
    "blocks": HERE + "Blocks",
    "breaks": HERE + "breaks",
    "generator": HERE + "generator",
    "nowhere": "no.such.module.f",
    "steps": HERE + "Steps",
    "steps_async": HERE + "StepsAsync",
    "query": "tests.django.test_views.query",
    "write": "tests.django.test_views.write",
    "write_async": "tests.django.test_views.write_async",
}


def query() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    django_tasks.calls.append(connection.connection)


def write(fails: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO written VALUES (1)")
    if fails:
        raise ValueError("after it was written")


async def write_async(fails: bool) -> None:
    await sync_to_async(write)(fails)


@pytest.fixture(autouse=True)
def table(chosen: Choose) -> Iterator[None]:
    chosen(BEANSTALK_DISPATCH_TABLE=TABLE)
    django_tasks.calls.clear()
    yield
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def post(body: bytes) -> tuple[int, dict[str, str]]:
    answer = Client(enforce_csrf_checks=True).post(URL, body, content_type="application/json")
    return answer.status_code, answer.json()


def in_thread(call: Callable[[], Any]) -> Any:
    """What it returns in another thread, as servers with threads have it."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join(30)
    return found[0]


def in_place(call: Callable[[], Any]) -> Any:
    return call()


anywhere = pytest.mark.parametrize("where", [in_place, in_thread])


@anywhere
@pytest.mark.parametrize("form", [bytes, base64.b64encode])
def test_the_function_is_called(where: Any, form: Callable[[bytes], bytes]) -> None:
    assert where(lambda: post(form(encode("add", [1], {"right": 2})))) == (200, {})
    assert django_tasks.calls[0][0] == 3


@anywhere
def test_a_coroutine_function_is_awaited(where: Any) -> None:
    assert where(lambda: post(encode("add_async", [4], {}))) == (200, {})
    assert django_tasks.calls == [4]


@anywhere
def test_a_function_that_fails_is_500(where: Any) -> None:
    status, answer = where(lambda: post(encode("breaks", [], {})))
    assert status == 500
    assert answer == {"message": "the task failed", "error": "ValueError: broken"}


@anywhere
@pytest.mark.parametrize("name", ["steps", "steps_async"])
def test_a_task_has_its_limit_and_its_hooks(where: Any, name: str) -> None:
    assert where(lambda: post(encode(name, [0], {})))[0] == 200
    assert django_tasks.calls == ["run", "success", "completion"]
    django_tasks.calls.clear()
    status, answer = where(lambda: post(encode(name, [1.5], {})))
    assert status == 500
    assert "TaskTimeout" in answer["error"]
    assert django_tasks.calls == ["run", "TaskTimeout", "completion"]


@pytest.mark.parametrize("name", ["write", "write_async"])
def test_what_a_failed_function_wrote_is_rolled_back_where_requests_are_atomic(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows() -> int:
        with connection.cursor() as cursor:
            return int(cursor.execute("SELECT count(*) FROM written").fetchone()[0])

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE written (number int)")
    try:
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        assert post(encode(name, [True], {}))[0] == 500
        assert rows() == 0
        assert post(encode(name, [False], {}))[0] == 200
        assert rows() == 1
        monkeypatch.undo()
        assert post(encode(name, [True], {}))[0] == 500
        assert rows() == 2
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE written")


def test_a_thread_that_does_not_end_keeps_no_answer_waiting() -> None:
    django_tasks.released.clear()
    try:
        assert in_thread(lambda: post(encode("blocks", [], {})))[0] == 500
        assert django_tasks.calls == []
    finally:
        django_tasks.released.set()
    # The thread goes on by itself: what it notes is not to be in the next test.
    block_until(lambda: django_tasks.calls == ["ended"])


REFUSED: list[tuple[bytes, str]] = [
    (b"", "missing argument"),
    (b"no JSON", "missing argument"),
    (b'{"args": [], "kwargs": {}}', "missing argument"),
    (encode("add", [], {}), "missing argument"),
    (encode("sub", [1], {}), "function not found"),
    (encode("nowhere", [1], {}), "unable to locate"),
    (encode("generator", [], {}), "not a SafeTask"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_a_request_that_can_never_succeed_is_400(body: bytes, message: str) -> None:
    status, answer = post(body)
    assert (status, answer["message"]) == (400, message)
    assert answer["error"]
    assert django_tasks.calls == []


def test_without_a_table_nothing_is_called(chosen: Choose) -> None:
    chosen(BEANSTALK_DISPATCH_TABLE={})
    assert post(encode("add", [1], {}))[1]["message"] == "no table configured"


def test_only_post_is_allowed() -> None:
    assert Client().get(URL).status_code == 405


def test_the_alarm_of_the_program_has_its_handler_again() -> None:
    def handler(*_: object) -> None: ...

    before = signal.signal(signal.SIGALRM, handler)
    try:
        post(encode("steps", [0], {}))
        assert signal.getsignal(signal.SIGALRM) is handler
    finally:
        signal.signal(signal.SIGALRM, before)


def test_database_connections_of_its_threads_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(django_tasks, "calls", opened)
    assert in_thread(lambda: post(encode("query", [], {})))[0] == 200
    (raw,) = opened
    with pytest.raises(ProgrammingError, match="closed database"):
        raw.execute("SELECT 1")


async def test_it_works_under_asgi() -> None:
    answers = [
        await AsyncClient().post(URL, encode(name, [4], {}), content_type="application/json")
        for name in ("add", "add_async")
    ]
    assert [each.status_code for each in answers] == [200, 200]
    assert [django_tasks.calls[0][0], django_tasks.calls[1]] == [5, 4]
    assert not [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]


def test_the_answer_is_json() -> None:
    answer = Client().post(URL, encode("add", [1], {}), content_type="text/plain")
    assert json.loads(answer.content) == {}
