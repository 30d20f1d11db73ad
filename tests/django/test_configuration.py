from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from beanstalkt.django.configuration import configuration

Choose = Callable[..., None]


def test_every_setting_may_be_left_out(chosen: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEANSTALKD_URL", raising=False)
    assert not hasattr(settings, "BEANSTALKT")
    configuration.cache_clear()
    found = configuration()
    assert found.server == "beanstalk://localhost:11300"
    assert (found.tube, found.table) == ("default", {})


def test_the_server_is_that_of_the_environment_unless_it_is_set(
    chosen: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEANSTALKD_URL", "beanstalk://there:1")
    chosen(BEANSTALKT={"TUBE": "mail"})
    assert configuration().server == "beanstalk://there:1"
    assert configuration().tube == "mail"
    chosen(BEANSTALKT={"SERVER": "unix:///run/b.sock"})
    assert configuration().server == "unix:///run/b.sock"


def test_tubes_are_names_or_names_with_workers(chosen: Choose) -> None:
    chosen(BEANSTALKT={"TUBES": ["mail", "reports"]})
    assert configuration().tubes == {"mail": None, "reports": None}
    chosen(BEANSTALKT={"TUBES": {"mail": 4, "reports": None}})
    assert configuration().tubes == {"mail": 4, "reports": None}


@pytest.mark.parametrize("value", [None, {}])
def test_a_table_of_the_old_dispatcher_is_the_table(chosen: Choose, value: Any) -> None:
    table = {"a_function_to_dispatch": "tests.support.django_tasks.add"}
    chosen(BEANSTALKT={"DISPATCH_TABLE": value}, BEANSTALK_DISPATCH_TABLE=table)
    assert configuration().table == table


def test_options_of_the_client_are_added_to_those_that_bound_its_waits(chosen: Choose) -> None:
    chosen(BEANSTALKT={"CLIENT": {"response_timeout": 1}})
    assert configuration().client == {"connect_timeout": 5.0, "response_timeout": 1}


def test_what_is_wrong_is_told_all_at_once_before_anything_is_sent(chosen: Choose) -> None:
    chosen(BEANSTALKT={"SERVER": "http://there", "TUBE": "two words"})
    with pytest.raises(ImproperlyConfigured, match=r"http://there(?s:.)*two words"):
        configuration()
