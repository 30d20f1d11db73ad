"""Django, set up once for all tests here, and settings for one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from beanstalkt.blocking import Client

from ..support.beanstalkd import Beanstalkd

if find_spec("django") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    import django
    from django.conf import settings
    from django.db import connections
    from django.test import override_settings

    FOLDER = TemporaryDirectory()

    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{FOLDER.name}/db"},
            "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{FOLDER.name}/other"},
        },
        INSTALLED_APPS=["beanstalkt.django"],
        MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
        ROOT_URLCONF="tests.django.urls",
        SECRET_KEY="no secret",
        TASKS={
            "default": {
                "BACKEND": "beanstalkt.django.backend.BeanstalkdBackend",
                "QUEUES": [],
                "OPTIONS": {"TTR": 77},
            },
            "commit": {
                "BACKEND": "beanstalkt.django.backend.BeanstalkdBackend",
                "QUEUES": ["default"],
                "OPTIONS": {"ENQUEUE_ON_COMMIT": True},
            },
            "commit_other": {
                "BACKEND": "beanstalkt.django.backend.BeanstalkdBackend",
                "OPTIONS": {"ENQUEUE_ON_COMMIT": "other"},
            },
        },
        USE_TZ=True,
    )
    django.setup()


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Nobody's database connection is left open."""
    yield
    connections.close_all()


@pytest.fixture
def chosen() -> Iterator[Callable[..., None]]:
    """``chosen(NAME=value)`` is a setting until the end of the test."""
    entered: list[Any] = []

    def choose(**values: Any) -> None:
        entered.append(override_settings(**values))
        entered[-1].enable()

    yield choose
    for each in reversed(entered):
        each.disable()


@pytest.fixture
def client(beanstalkd: Beanstalkd, chosen: Callable[..., None]) -> Iterator[Client]:
    """A client of its own for a server that the settings name."""
    chosen(BEANSTALKT={"SERVER": beanstalkd.url, "TUBE": "home"})
    with Client.from_url(beanstalkd.url) as client:
        yield client
