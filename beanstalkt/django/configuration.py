"""The settings of a Django project that configure this app.

::

    BEANSTALKT = {
        "SERVER": "beanstalk://localhost:11300",  # else BEANSTALKD_URL of the environment
        "TUBE": "default",            # where schedule_function(None, ...) puts
        "TUBES": {"mail": 4},         # what beanstalkt_work works on: names, or names and workers
        "WORKER": {"timeout": 60},    # options of the runner, as in its configuration file
        "DISPATCH_TABLE": {"send": "shop.mail.send"},
        "TASK_MODULES": ["shop.jobs"],  # modules with tasks that are not the tasks.py of an app
        "CLIENT": {"response_timeout": 10},  # options of beanstalkt.blocking.Client
    }

Each key may be left out. ``BEANSTALK_DISPATCH_TABLE``, the setting of the old dispatcher, is the
same as the key ``DISPATCH_TABLE``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from ..blocking import Client
from ..protocol.address import Address
from ..protocol.arguments import DEFAULT_TUBE, TUBE
from ..protocol.servers import names_one

SETTING = "BEANSTALKT"
SERVER = f"{SETTING}['SERVER']"
VARIABLE = "BEANSTALKD_URL"
OLD_TABLE = "BEANSTALK_DISPATCH_TABLE"
OLD_KEYS = ("BEANSTALK_DISPATCH_SQS_KEY", "BEANSTALK_DISPATCH_SQS_SECRET")

CLIENT = {"connect_timeout": 5.0, "response_timeout": 10.0}
"""Options of the client unless the settings say otherwise: no request may wait for long."""

MAX_WORKERS = 10_000
"""Workers that a tube may have."""


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with the settings.

    :ivar id: the id of the system check
    :ivar hint: what to do
    """

    id: str
    text: str
    hint: str


@dataclass(frozen=True)
class Configuration:
    """What the settings say.

    :ivar server: a URL
    :ivar server_place: what has named it
    :ivar tubes: the tubes to work on, and how many workers each has; None: as the runner says
    :ivar table: the dispatch table, from names to paths; empty: there is none
    :ivar worker: options of the runner, not checked
    :ivar task_modules: modules to import for the tasks in them, not checked
    :ivar client: options of the blocking client
    """

    server: str = str(Address())
    server_place: str = "the default"
    tube: str = DEFAULT_TUBE
    tubes: Mapping[str, int | None] = field(default_factory=dict)
    table: Mapping[str, Any] = field(default_factory=dict)
    worker: Mapping[str, Any] = field(default_factory=dict)
    task_modules: tuple[str, ...] = ()
    client: Mapping[str, Any] = field(default_factory=lambda: CLIENT)


@lru_cache(maxsize=1)
def configuration() -> Configuration:
    """Read the settings of the Django app.

    Raises ImproperlyConfigured with everything that is wrong.
    """
    found, problems = read()
    if problems:
        raise ImproperlyConfigured("; ".join(problem.text for problem in problems))
    return found


def _forget(*, setting: str, **_: object) -> None:
    if setting in (SETTING, OLD_TABLE):
        configuration.cache_clear()


# Sent by the test tools of Django, such as override_settings.
setting_changed.connect(_forget)


def read() -> tuple[Configuration, list[Problem]]:
    """Read the settings and return what they say and what is wrong with them."""
    reader = _Reader()
    return reader.read(), reader.problems


class _Reader:
    """Read the settings key by key, and note what is wrong."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def read(self) -> Configuration:
        said = getattr(settings, SETTING, None)
        if said is None:
            said = {}
        if not isinstance(said, Mapping):
            self._problem("E001", f"{SETTING} must be a dict, not {said!r}", f"{SETTING} = {{}}")
            said = {}
        readers: dict[str, Callable[[Any], Any]] = {
            "SERVER": self._server,
            "TUBE": self._tube,
            "TUBES": self._tubes,
            "DISPATCH_TABLE": self._table,
            "WORKER": self._worker,
            "TASK_MODULES": self._task_modules,
            "CLIENT": self._client,
        }
        for key in said:
            if key not in readers:
                self._problem(
                    "E002",
                    f"{SETTING} has an unknown key, {key!r}",
                    f"The keys are {', '.join(readers)}.",
                )
        values: dict[str, Any] = {
            key.lower(): reader(said.get(key)) for key, reader in readers.items()
        }
        values["table"] = values.pop("dispatch_table")
        if said.get("SERVER") is not None:
            values["server_place"] = SERVER
        elif os.environ.get(VARIABLE):
            values["server_place"] = VARIABLE
        return Configuration(**values)

    def _problem(self, number: str, text: str, hint: str) -> None:
        self.problems.append(Problem(f"beanstalkt.{number}", text, hint))

    def _server(self, said: Any) -> str:
        place = SERVER
        if said is None:
            place, said = VARIABLE, os.environ.get(VARIABLE) or str(Address())
        try:
            if isinstance(said, str) and "://" in said and not names_one(said):
                raise ValueError(f"one server is expected, not a list: {said!r}")
            return str(Address.parse(said))
        except ValueError as error:
            self._problem(
                "E003",
                f"{place}: {error}",
                "Give a URL such as beanstalk://localhost:11300 or unix:///run/beanstalkd.sock.",
            )
            return str(Address())

    def _name(self, place: str, name: Any) -> bool:
        """Note what is wrong with the name of a tube; return whether nothing is."""
        try:
            TUBE.check(name)
        except ValueError as error:
            self._problem(
                "E004",
                f"{place}: {error}",
                "The name of a tube is 1 to 200 letters, digits and characters of "
                "-+/;.$_(), and does not begin with a hyphen.",
            )
            return False
        return True

    def _tube(self, said: object) -> str:
        if said is None or not self._name(f"{SETTING}['TUBE']", said):
            return DEFAULT_TUBE
        return str(said)

    def _tubes(self, said: object) -> Mapping[str, int | None]:
        place = f"{SETTING}['TUBES']"
        if said is None:
            return {}
        if isinstance(said, (list, tuple, set, frozenset)) and _all_names(said):
            said = dict.fromkeys(said)
        if not isinstance(said, Mapping):
            self._problem(
                "E005",
                f"{place} must be a list of names or a dict of names and workers, not {said!r}",
                "Such as ['mail', 'reports'] or {'mail': 4}.",
            )
            return {}
        found: dict[str, int | None] = {}
        for name, workers in said.items():
            if workers is not None and not _is_number_of_workers(workers):
                self._problem(
                    "E005",
                    f"{place}: {name!r} must have 1 to {MAX_WORKERS} workers, not {workers!r}",
                    "Give a whole number, or None for what the runner's options say.",
                )
            elif self._name(place, name):
                found[name] = workers
        return found

    def _table(self, said: object) -> Mapping[str, Any]:
        old = getattr(settings, OLD_TABLE, None)
        place = f"{SETTING}['DISPATCH_TABLE']"
        if said and old:
            self._problem(
                "E006",
                f"{place} and {OLD_TABLE} are both set",
                "Keep one of the two, with all functions.",
            )
        elif not said:
            place, said = OLD_TABLE, old
        if not said:
            return {}
        if not isinstance(said, Mapping):
            self._problem(
                "E006",
                f"{place} must be a dict, not {said!r}",
                "Map each name to the path of its function, such as {'send': 'shop.mail.send'}.",
            )
            return {}
        return said

    def _worker(self, said: object) -> Mapping[str, Any]:
        if said is None:
            return {}
        if not isinstance(said, Mapping):
            self._problem(
                "E007",
                f"{SETTING}['WORKER'] must be a dict, not {said!r}",
                "Such as {'timeout': 60, 'max_attempts': 5}.",
            )
            return {}
        return said

    def _task_modules(self, said: object) -> tuple[str, ...]:
        if said is None:
            return ()
        if not isinstance(said, (list, tuple)) or not _all_names(said):
            self._problem(
                "E008",
                f"{SETTING}['TASK_MODULES'] must be a list of modules, not {said!r}",
                "Such as ['shop.jobs'].",
            )
            return ()
        return tuple(said)

    def _client(self, said: object) -> Mapping[str, Any]:
        if said is None:
            return CLIENT
        try:
            if not isinstance(said, Mapping):
                raise TypeError(f"a dict is expected, not {said!r}")
            options = {**CLIENT, **said}
            Client.from_url("beanstalk://localhost", **options)  # does not connect
        except (TypeError, ValueError) as error:
            self._problem(
                "E009",
                f"{SETTING}['CLIENT']: {error}",
                "Give options of beanstalkt.blocking.Client, such as {'response_timeout': 10}.",
            )
            return CLIENT
        return options


def _is_number_of_workers(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_WORKERS


def _all_names(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) and value for value in values)
