"""The system checks of the settings: ``manage.py check``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info

from ..dispatch.table import TableError, brief, make_entry
from .configuration import OLD_KEYS, SETTING, read


def check_settings(**_: Any) -> list[CheckMessage]:
    """Check BEANSTALKT and the settings of the old dispatcher."""
    found, problems = read()
    return [
        *(Error(problem.text, hint=problem.hint, id=problem.id) for problem in problems),
        *_check_table(found.table),
        *_check_worker(found.worker),
        *_check_task_modules(found.task_modules),
        *_check_old_keys(),
    ]


def _check_table(table: Mapping[Any, object]) -> Iterator[CheckMessage]:
    for name, target in table.items():
        problem = None
        if not isinstance(name, str) or not name:
            problem = "a name must be a str"
        else:
            try:
                make_entry(name, target)
            except TableError as error:
                problem = str(error)
        if problem is not None:
            yield Error(
                f"the dispatch table: {name!r}: {problem}",
                hint="Give the path of a function or of a SafeTask, such as 'shop.mail.send'.",
                id="beanstalkt.E010",
            )


def _check_worker(options: Mapping[Any, object]) -> Iterator[CheckMessage]:
    if not options:
        return
    from . import runner  # a process that only serves requests does not load the runner

    for name, value in options.items():
        place = f"{SETTING}['WORKER']"
        if name not in runner.OPTIONS:
            yield Error(
                f"{place} has an unknown option, {name!r}",
                hint=f"The options are {', '.join(runner.OPTIONS)}.",
                id="beanstalkt.E011",
            )
        elif (problem := runner.problem(name, value)) is not None:
            yield Error(
                f"{place}[{name!r}]: {problem}",
                hint="manage.py beanstalkt_work --help explains each option.",
                id="beanstalkt.E012",
            )


def _check_task_modules(names: tuple[str, ...]) -> Iterator[CheckMessage]:
    for name in names:
        try:
            import_module(name)
        except Exception as error:
            yield Error(
                f"{SETTING}['TASK_MODULES']: cannot import {name}: {brief(error)}",
                hint="Give the full name of a module, such as 'shop.jobs'.",
                id="beanstalkt.E013",
            )


def _check_old_keys() -> Iterator[CheckMessage]:
    for name in OLD_KEYS:
        if hasattr(settings, name):
            yield Info(
                f"{name} is not used: jobs go to beanstalkd, not to SQS",
                hint=f"Remove it. The server is {SETTING}['SERVER'].",
                id="beanstalkt.I001",
            )
