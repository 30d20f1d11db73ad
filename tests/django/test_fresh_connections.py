from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from beanstalkt import SafeTask
from beanstalkt.dispatch.perform import perform, perform_async
from beanstalkt.dispatch.table import Table, make_entry
from beanstalkt.django.fresh_connections import close_all, with_fresh_connections

from ..support import django_tasks


def recorded(target: Any) -> tuple[type[SafeTask], list[Any]]:
    """The task around `target`; ``close`` notes itself among its calls."""
    django_tasks.calls.clear()
    calls = django_tasks.calls
    return with_fresh_connections(make_entry("it", target), lambda: calls.append("close")), calls


def grown_old() -> None:
    """Open the connection of this thread, and let it be too old."""
    connection.ensure_connection()
    connection.close_at = 0


class Looks(SafeTask):
    """Notes whether the connection was closed before, and leaves another old one."""

    def run(self) -> Any:
        django_tasks.calls.append(connection.connection is None)

    def on_completion(self) -> Any:
        grown_old()


class LooksAsync(Looks):
    async def run(self) -> None:
        await sync_to_async(super().run)()

    async def on_completion(self) -> None:
        await sync_to_async(grown_old)()


def test_old_connections_are_closed_before_and_after() -> None:
    grown_old()
    django_tasks.calls.clear()
    assert perform(with_fresh_connections(make_entry("it", Looks))(), [], {}) is None
    assert django_tasks.calls == [True]
    assert connection.connection is None


async def test_those_of_a_coroutine_task_are_closed_in_their_thread() -> None:
    django_tasks.calls.clear()

    await sync_to_async(grown_old)()
    task = with_fresh_connections(make_entry("it", LooksAsync))()
    assert await perform_async(task, [], {}) is None
    assert django_tasks.calls == [True]
    assert await sync_to_async(lambda: connection.connection)() is None


def uses() -> None:
    connection.cursor().close()
    connection.close_at = None  # as if CONN_MAX_AGE were None
    django_tasks.calls.append(connection.connection)


def test_a_connection_that_the_database_has_ended_is_replaced_before_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    django_tasks.calls.clear()
    task = with_fresh_connections(make_entry("it", uses))
    assert perform(task(), [], {}) is None
    assert perform(task(), [], {}) is None  # it is usable, and kept
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    assert perform(task(), [], {}) is None
    first, second, third = django_tasks.calls
    assert first is second
    assert third is not second


def test_at_the_end_of_a_worker_those_of_coroutines_are_closed_too() -> None:
    async def opened() -> Any:
        await sync_to_async(lambda: connection.ensure_connection())()
        return await sync_to_async(lambda: connection.connection)()

    connection.ensure_connection()
    theirs = asyncio.run(opened())
    assert theirs is not connection.connection
    close_all()
    assert connection.connection is None
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        asyncio.run(sync_to_async(theirs.execute)("SELECT 1"))


@pytest.mark.parametrize("target", [django_tasks.add, django_tasks.add_async])
def test_a_function_keeps_its_signature(target: Callable[..., Any]) -> None:
    task, _ = recorded(target)
    plain, around = make_entry("it", target), make_entry("it", task)
    assert around.signature == plain.signature
    assert around.asynchronous == plain.asynchronous
    assert around.timeout == plain.timeout is None


@pytest.mark.parametrize(
    ("seconds", "hooks"), [(0, ["success"]), (30, ["TaskTimeout"])], ids=["success", "timeout"]
)
def test_a_task_keeps_its_limit_and_its_hooks(seconds: float, hooks: list[str]) -> None:
    task, calls = recorded(django_tasks.Steps)
    perform(task(), [seconds], {})
    assert calls == ["close", "run", *hooks, "completion", "close"]


@pytest.mark.parametrize(
    ("seconds", "hooks"), [(0, ["success"]), (30, ["TaskTimeout"])], ids=["success", "timeout"]
)
async def test_a_coroutine_task_keeps_them_too(seconds: float, hooks: list[str]) -> None:
    task, calls = recorded(django_tasks.StepsAsync)
    await perform_async(task(), [seconds], {})
    assert calls == ["close", "run", *hooks, "completion", "close"]


class FailsAtTheEnd(django_tasks.Steps):
    def on_completion(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("at the end")


class FailsAtTheEndAsync(django_tasks.StepsAsync):
    async def on_completion(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError("at the end")


async def test_connections_are_closed_also_when_the_last_hook_fails() -> None:
    task, calls = recorded(FailsAtTheEndAsync)
    assert str(await perform_async(task(), [0], {})) == "at the end"
    assert calls[-1] == "close"


def test_so_they_are_for_a_plain_task_and_one_with_a_coroutine_as_its_last_hook() -> None:
    task, calls = recorded(FailsAtTheEnd)
    assert str(perform(task(), [0], {})) == "at the end"
    assert calls[-1] == "close"

    class Mixed(django_tasks.Steps):
        async def on_completion(self, *args: Any, **kwargs: Any) -> None:
            django_tasks.calls.append("completion")

    task, calls = recorded(Mixed)
    assert perform(task(), [0], {}) is None
    assert calls == ["close", "run", "success", "close", "completion", "close"]


def test_each_job_has_a_task_of_its_own() -> None:
    entry = Table.load({"it": recorded(django_tasks.Steps)[0]}).entries["it"]
    assert entry.make() is not entry.make()
