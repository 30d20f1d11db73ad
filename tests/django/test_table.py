from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import pytest
from django.utils.functional import SimpleLazyObject

from beanstalkt.dispatch.table import Table, TableError
from beanstalkt.django import table

Choose = Callable[..., None]
BACKEND = "beanstalkt.django.backend.BeanstalkdBackend"
NOOP = "task:tests.support.django_tasks.noop"


def test_it_has_the_functions_and_the_tasks_of_the_project(chosen: Choose) -> None:
    chosen(
        BEANSTALKT={
            "DISPATCH_TABLE": {"steps": "tests.support.django_tasks.Steps"},
            "TASK_MODULES": ["tests.support.django_tasks"],
        }
    )
    entries = Table.load(table.make_table()).entries
    assert {"steps", NOOP, f"{NOOP}_async"} <= entries.keys()
    assert entries["steps"].timeout == 0.2
    assert entries[f"{NOOP}_async"].asynchronous
    assert not entries[NOOP].asynchronous


def test_without_the_backend_there_are_no_tasks(chosen: Choose) -> None:
    chosen(TASKS={}, BEANSTALK_DISPATCH_TABLE={"add": "tests.support.django_tasks.add"})
    assert list(table.make_table()) == ["add"]


def test_a_function_that_is_not_there_is_an_error(chosen: Choose) -> None:
    chosen(BEANSTALK_DISPATCH_TABLE={"add": "tests.support.django_tasks.sub"})
    with pytest.raises(TableError, match="has no sub"):
        table.make_table()


def test_lazy_objects_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        pytest.fail("it was loaded")

    module = ModuleType("lazy")
    vars(module)["lazy"] = SimpleLazyObject(load)
    monkeypatch.setitem(sys.modules, "lazy", module)
    table.make_table()


@pytest.mark.parametrize(
    ("settings", "queues", "tubes"),
    [
        ({"TUBES": {"mail": 4}}, ["a"], {"mail": 4}),
        ({}, ["b", "a"], {"a": None, "b": None}),
        ({}, [], {"default": None}),
        (
            {"TUBE": "home", "DISPATCH_TABLE": {"add": "tests.support.django_tasks.add"}},
            ["a"],
            {"home": None, "a": None},
        ),
    ],
)
def test_the_tubes_are_those_of_the_settings_else_of_what_there_is(
    chosen: Choose, settings: dict[str, object], queues: list[str], tubes: dict[str, int | None]
) -> None:
    chosen(BEANSTALKT=settings, TASKS={"default": {"BACKEND": BACKEND, "QUEUES": queues}})
    assert table.tubes() == tubes
