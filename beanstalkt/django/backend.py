"""The backend that puts the tasks of Django's tasks framework into beanstalkd.

::

    TASKS = {
        "default": {
            "BACKEND": "beanstalkt.django.backend.BeanstalkdBackend",
            "QUEUES": ["default", "mail"],  # each is a tube
            "OPTIONS": {"TTR": 120, "ENQUEUE_ON_COMMIT": True},
        }
    }

``manage.py beanstalkt_work`` runs the tasks. Results are not kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.db import connections, transaction
from django.utils import timezone
from django.utils.crypto import get_random_string

from ..dispatch.call import encode
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR
from ..protocol.arguments import MAX_NUMBER, TUBE
from .configuration import SETTING, read
from .framework import BaseTaskBackend, InvalidTask, TaskResult, TaskResultStatus, task_enqueued
from .producer import put

PRIORITY_STEP = 20_000_000
"""How much one step of a task's priority, -100 to 100, is in a job's priority, where 0 is the most
urgent. 0 of the one is the default of the other."""

NAME = "task:"
"""What the name of a task begins with in the worker's dispatch table; its path follows."""

OPTIONS = {"TTR": DEFAULT_TTR, "ENQUEUE_ON_COMMIT": False}
"""The options of the backend and what they are unless they are set."""


class BeanstalkdBackend(BaseTaskBackend):
    """Put tasks into beanstalkd: a queue is a tube, ``run_after`` is a delay.

    Priority 0 is the default priority of a job, 2**31; a higher one is more urgent.

    With the option ENQUEUE_ON_COMMIT a task is put when the transaction is committed, and never if
    it is rolled back; ``enqueued_at`` of its result is None until then. True means the
    transaction of the default database, a name that of another one of DATABASES. TTR is for how
    many seconds a worker may hold the job without a sign of life, and the time limit of a task
    where the runner has none of its own.

    The methods that enqueue raise what ``beanstalkt.blocking.Client.put`` raises.
    """

    supports_defer = True
    supports_async_task = True
    supports_priority = True
    supports_get_result = False

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self._said_queues = params.get("QUEUES", [])
        if isinstance(self._said_queues, str):
            # The framework makes a queue of each letter. The check below says what is wrong, which
            # it could not if no task of that queue could be made.
            self.queues = {self._said_queues}
        chosen = {**OPTIONS, **(self.options if isinstance(self.options, Mapping) else {})}
        self._ttr = chosen["TTR"]
        self._on_commit = chosen["ENQUEUE_ON_COMMIT"]

    def validate_task(self, task: Any) -> None:
        """Raise the framework's InvalidTask if the task cannot be put."""
        if self.queues and task.queue_name not in self.queues:
            raise InvalidTask(
                f"Queue {task.queue_name!r} is not valid for backend {self.alias!r}: it is not in "
                f"TASKS[{self.alias!r}]['QUEUES'], which has "
                f"{', '.join(sorted(map(repr, self.queues)))}. Add it, or name one of those: "
                "@task(queue_name=...)"
            )
        super().validate_task(task)
        try:
            TUBE.check(task.queue_name)
        except ValueError as error:
            raise InvalidTask(
                f"Queue {task.queue_name!r} is not the name of a tube: {error}"
            ) from error
        if _delay(task) > MAX_NUMBER:
            raise InvalidTask(f"run_after must be less than {MAX_NUMBER} seconds from now.")

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Put the task, now or on commit; return its result, which is READY and stays so.

        Raises TypeError or ValueError, before anything is sent, for arguments that are not JSON.
        """
        self.validate_task(task)
        result = TaskResult(
            task=task,
            id=get_random_string(32),
            status=TaskResultStatus.READY,
            enqueued_at=None,
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        _body(result, None)  # raises what is wrong with the arguments now, not at the commit
        if self._on_commit:
            database = None if self._on_commit is True else self._on_commit
            transaction.on_commit(partial(self._put, result), using=database)
        else:
            self._put(result)
        return result

    def _put(self, result: Any) -> None:
        now = timezone.now()
        put(
            _body(result, now.isoformat()),
            tube=result.task.queue_name,
            priority=DEFAULT_PRIORITY - int(result.task.priority) * PRIORITY_STEP,
            delay=_delay(result.task),
            ttr=self._ttr,
        )
        object.__setattr__(result, "enqueued_at", now)  # as the framework's own backends do
        task_enqueued.send(type(self), task_result=result)

    def check(self, **kwargs: Any) -> Iterator[CheckMessage]:
        """Check the settings of the backend."""
        yield from super().check(**kwargs)
        place = f"TASKS[{self.alias!r}]"
        if not apps.is_installed("beanstalkt.django"):
            yield Error(
                f"{place} needs the app beanstalkt.django",
                hint="Add 'beanstalkt.django' to INSTALLED_APPS.",
                id="beanstalkt.E020",
            )
        yield from self._check_queues(place)
        if not isinstance(self.options, Mapping):
            yield Error(
                f"{place}['OPTIONS'] must be a dict, not {self.options!r}",
                hint=f"The keys are {', '.join(OPTIONS)}; each may be left out.",
                id="beanstalkt.E022",
            )
            return
        for key in self.options:
            if key not in OPTIONS:
                yield Error(
                    f"{place}['OPTIONS'] has an unknown key, {key!r}",
                    hint=f"The keys are {', '.join(OPTIONS)}.",
                    id="beanstalkt.E022",
                )
        if type(self._ttr) is not int or not 1 <= self._ttr <= MAX_NUMBER:
            yield Error(
                f"{place}['OPTIONS']['TTR'] must be a whole number of seconds, not {self._ttr!r}",
                hint=f"Give a number from 1 to {MAX_NUMBER}, such as {DEFAULT_TTR}.",
                id="beanstalkt.E023",
            )
        if not isinstance(self._on_commit, bool) and self._on_commit not in list(connections):
            yield Error(
                f"{place}['OPTIONS']['ENQUEUE_ON_COMMIT'] must be a bool or one of DATABASES, not "
                f"{self._on_commit!r}",
                hint="Give True for the default database, or the name of the one whose "
                "transactions the tasks are to wait for.",
                id="beanstalkt.E024",
            )

    def _check_queues(self, place: str) -> Iterator[CheckMessage]:
        if not isinstance(self._said_queues, (list, tuple, set, frozenset)):
            yield Error(
                f"{place}['QUEUES'] must be a list of names, not {self._said_queues!r}",
                hint="Such as ['default', 'mail'].",
                id="beanstalkt.E025",
            )
            return
        for queue in sorted(self.queues, key=str):
            try:
                TUBE.check(queue)
            except ValueError as error:
                yield Error(
                    f"{place}['QUEUES']: {error}",
                    hint="The name of a queue is the name of its tube.",
                    id="beanstalkt.E021",
                )
        yield from self._check_tubes(place)

    def _check_tubes(self, place: str) -> Iterator[CheckMessage]:
        """Check that ``beanstalkt_work`` works on the queues, if the settings name its tubes."""
        chosen, problems = read()
        left = [repr(queue) for queue in self.queues if queue not in chosen.tubes]
        if left and chosen.tubes and not problems:
            yield Warning(
                f"{SETTING}['TUBES'] leaves out what {place} puts tasks into: "
                f"{', '.join(sorted(left))}",
                hint="Add it to TUBES: manage.py beanstalkt_work runs no tasks of other queues, "
                "unless it is given --tube.",
                id="beanstalkt.W001",
            )


def _delay(task: Any) -> int:
    """Return for how many seconds from now the task must wait."""
    if task.run_after is None:
        return 0
    try:
        seconds: float = task.run_after.timestamp() - time.time()
    except (ValueError, OverflowError, OSError) as error:  # a naive one, of the year 1 or 9999
        raise InvalidTask(f"run_after cannot be {task.run_after}: {error}") from error
    return max(0, math.ceil(seconds))


def _body(result: Any, enqueued_at: str | None) -> bytes:
    """Return the body of a job: a call of the task's entry in the worker's dispatch table."""
    return encode(
        NAME + result.task.module_path,
        [],
        {
            "id": result.id,
            "args": result.args,
            "kwargs": result.kwargs,
            "backend": result.backend,
            "queue_name": result.task.queue_name,
            "priority": int(result.task.priority),
            "enqueued_at": enqueued_at,
        },
    )
