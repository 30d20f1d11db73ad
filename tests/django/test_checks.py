from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import run_checks

from beanstalkt.django.framework import task_backends

from ..support import django_tasks

Choose = Callable[..., None]
BACKEND = "beanstalkt.django.backend.BeanstalkdBackend"


def found() -> dict[str, Any]:
    """The messages of the checks that are this app's, by their ids."""
    return {each.id: each for each in run_checks() if each.id.startswith("beanstalkt.")}


def test_good_settings_have_nothing_to_tell(chosen: Choose) -> None:
    chosen(
        BEANSTALKT={
            "SERVER": "beanstalks://there:11300",
            "TUBE": "mail",
            "TUBES": {"mail": 4, "default": None},
            "WORKER": {"timeout": 60, "swallow": True, "backoff": "exponential", "burst": False},
            "DISPATCH_TABLE": {"add": "tests.support.django_tasks.add"},
            "TASK_MODULES": ["tests.support.django_tasks"],
            "CLIENT": {"response_timeout": 2.5},
        }
    )
    assert found() == {}


WRONG: list[tuple[str, Any, str]] = [
    ("E001", ["mail"], "must be a dict"),
    ("E002", {"SERVERS": "x"}, "'SERVERS'"),
    ("E003", {"SERVER": "localhost:11300"}, "localhost:11300"),
    ("E003", {"SERVER": 11300}, "str"),
    ("E003", {"SERVER": "beanstalk://one,beanstalk://two"}, "one server is expected, not a list"),
    ("E003", {"SERVER": "a=beanstalk://one b=beanstalk://two"}, "one server is expected"),
    ("E004", {"TUBE": "two words"}, "two words"),
    ("E004", {"TUBE": 5}, "not int"),
    ("E004", {"TUBES": ["good", "-bad"]}, "-bad"),
    ("E005", {"TUBES": "mail"}, "'mail'"),
    ("E005", {"TUBES": [["mail"]]}, "must be a list of names"),
    ("E005", {"TUBES": {"mail": 0}}, "workers, not 0"),
    ("E005", {"TUBES": {"mail": True}}, "workers, not True"),
    ("E006", {"DISPATCH_TABLE": "members.TABLE"}, "must be a dict"),
    ("E007", {"WORKER": "timeout"}, "must be a dict"),
    ("E008", {"TASK_MODULES": "shop.jobs"}, "must be a list"),
    ("E009", {"CLIENT": {"colour": "red"}}, "colour"),
    ("E009", {"CLIENT": {"connect_timeout": -1}}, "connect_timeout"),
    ("E009", {"CLIENT": 5}, "a dict is expected"),
    ("E010", {"DISPATCH_TABLE": {"x": "no.such.module.f"}}, "no.such.module"),
    ("E010", {"DISPATCH_TABLE": {"x": "tests.support.django_tasks.generator"}}, "a generator"),
    ("E010", {"DISPATCH_TABLE": {5: "tests.support.django_tasks.add"}}, "5"),
    ("E011", {"WORKER": {"time_out": 5}}, "time_out"),
    ("E011", {"WORKER": {"call": "os:system"}}, "call"),
    ("E012", {"WORKER": {"timeout": "soon"}}, "'soon'"),
    ("E012", {"WORKER": {"workers": 0}}, "not 0"),
    ("E013", {"TASK_MODULES": ["no.such.module"]}, "no.such.module"),
]


@pytest.mark.parametrize(("number", "value", "text"), WRONG)
def test_each_bad_setting_has_an_id_a_text_and_a_hint(
    chosen: Choose, number: str, value: Any, text: str
) -> None:
    chosen(BEANSTALKT=value)
    messages = found()
    assert list(messages) == [f"beanstalkt.{number}"]
    message = messages[f"beanstalkt.{number}"]
    assert text in message.msg
    assert message.hint
    assert message.is_serious()


def test_two_tables_are_one_too_many(chosen: Choose) -> None:
    table = {"add": "tests.support.django_tasks.add"}
    chosen(BEANSTALKT={"DISPATCH_TABLE": table}, BEANSTALK_DISPATCH_TABLE=table)
    assert list(found()) == ["beanstalkt.E006"]


def test_the_settings_of_the_old_dispatcher_work_unchanged(chosen: Choose) -> None:
    chosen(
        BEANSTALK_DISPATCH_SQS_KEY="key",
        BEANSTALK_DISPATCH_SQS_SECRET="secret",
        BEANSTALK_DISPATCH_TABLE={"add": "tests.support.django_tasks.add"},
    )
    messages = found()
    assert list(messages) == ["beanstalkt.I001"]
    assert not messages["beanstalkt.I001"].is_serious()


WRONG_BACKENDS: list[tuple[str, dict[str, Any]]] = [
    ("E021", {"QUEUES": ["two words"]}),
    ("E022", {"OPTIONS": {"COLOUR": "red"}}),
    ("E022", {"OPTIONS": None}),
    ("E023", {"OPTIONS": {"TTR": 0}}),
    ("E023", {"OPTIONS": {"TTR": "60"}}),
    ("E024", {"OPTIONS": {"ENQUEUE_ON_COMMIT": "yes"}}),
    ("E024", {"OPTIONS": {"ENQUEUE_ON_COMMIT": ["other"]}}),
    ("E024", {"OPTIONS": {"ENQUEUE_ON_COMMIT": None}}),
    ("E025", {"QUEUES": "mail"}),  # which would be the queues m, a, i and l
    ("E025", {"QUEUES": {"mail": 4}}),
]


@pytest.mark.parametrize(("number", "params"), WRONG_BACKENDS)
def test_each_bad_setting_of_a_task_backend_is_told(
    chosen: Choose, number: str, params: dict[str, Any]
) -> None:
    chosen(TASKS={"default": {"BACKEND": BACKEND, **params}})
    (message,) = task_backends["default"].check()
    assert message.id == f"beanstalkt.{number}"
    assert message.hint
    assert "TASKS['default']" in message.msg


def test_tasks_can_be_made_where_the_queues_are_a_str(chosen: Choose) -> None:
    """Else `manage.py check` would end with an InvalidTask before it tells the mistake."""
    chosen(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": "mail"}})
    assert django_tasks.noop.using(queue_name="mail")


def test_a_queue_that_nobody_works_on_is_told(chosen: Choose) -> None:
    chosen(
        BEANSTALKT={"TUBES": ["mail"]},
        TASKS={"default": {"BACKEND": BACKEND, "QUEUES": ["mail", "letters"]}},
    )
    (message,) = task_backends["default"].check()
    assert message.id == "beanstalkt.W001"
    assert message.msg.endswith("puts tasks into: 'letters'")
    chosen(BEANSTALKT={"TUBES": ["mail", "letters"]})
    assert not list(task_backends["default"].check())


def test_a_backend_needs_the_app(chosen: Choose) -> None:
    chosen(INSTALLED_APPS=[], TASKS={"default": {"BACKEND": BACKEND}})
    assert [each.id for each in task_backends["default"].check()] == ["beanstalkt.E020"]
