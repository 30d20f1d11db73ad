"""Where a handler plugs into the runner: one coroutine from a job to an outcome.

To write one:

1. Subclass :class:`Handler`. ``run(work)`` does one job and returns an
   :class:`~beanstalkt.worker.policy.outcome.Outcome` of one of the kinds that a handler may say. It runs
   as often at once as the tube has workers, on the event loop: it must not block it. An exception
   that it raises is an unknown fail.
2. **Stopping is cancelling.** The slot keeps the time limit, and cancels the coroutine when
   it has passed, when the runner is told to stop now, and when the job was lost to
   another worker. A handler has ``work.kill_grace`` seconds to end then, by raising CancelledError
   or by returning: an outcome SUCCESS still counts as one, any other becomes the reason why it
   was stopped, with the fields of the outcome kept for the log. A second cancel means: at
   once. Most handlers need no line for this.
3. The slot touches, takes the job back after a lost connection, settles and logs. A handler
   never talks to the server.
4. Name the configuration keys in ``options``, each an :class:`Option`: it is a key of a
   ``[tube:…]`` section, a flag and an environment variable at the same time. A tube has the
   handler of which it sets an option with ``selects=True``. ``defaults`` gives other defaults to
   the common options, such as ``{"on_temporary_fail": RELEASE}``; ``sections`` names
   sections of the file that belong to the handler, such as ``("dispatch",)``.
5. ``from_options`` makes the handler of a tube; what is wrong with the values together is a
   ValueError there. ``check`` is called before the first job and again after NOT_STARTED, before
   the next: raise :class:`CannotStart` while no job could be run.
6. Add the class to ``HANDLERS`` in ``handlers.py``.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...job import Job
from ...protocol.stats import StatsJob
from ..policy.outcome import Outcome


class CannotStart(Exception):
    """No job can be run now, such as for want of the command; the message says why."""


class WorkerJob(Job):
    """A job as a handler gets it, with its counters and limits.

    It is a :class:`~beanstalkt.job.Job` without a client: ``delete()`` and the other verbs raise
    an exception, because the runner settles the job.
    """

    __slots__ = (
        "attempt",
        "counters",
        "kill_grace",
        "max_attempts",
        "server",
        "slot",
        "time_limit",
        "tube",
    )

    def __init__(
        self,
        id: int,  # noqa: A002 - the field's name
        body: bytes,
        *,
        tube: str,
        counters: StatsJob,
        attempt: int,
        max_attempts: int,
        time_limit: float,
        kill_grace: float,
        server: str,
        slot: int,
    ) -> None:
        super().__init__(id, body)
        #: the tube that it was reserved from
        self.tube = tube
        #: what ``stats-job`` said just after it was reserved
        self.counters = counters
        #: which attempt this is, from 1
        self.attempt = attempt
        #: 0: no limit
        self.max_attempts = max_attempts
        #: seconds from now after which the handler is cancelled
        self.time_limit = time_limit
        #: seconds that the handler has to end once it is cancelled
        self.kill_grace = kill_grace
        #: URL of the server
        self.server = server
        #: the number of the slot among the tube's workers, from 1; one job at a time has it
        self.slot = slot


#: the name that :class:`WorkerJob` had before it was public
Work = WorkerJob


@dataclass(frozen=True)
class Option:
    """A setting of a tube: key in the file, flag, and environment variable.

    ``Option("pass_tube", …)`` is ``pass_tube = yes`` in the file, ``--pass-tube`` as a flag and
    ``BEANSTALKT_PASS_TUBE=yes`` in the environment.
    """

    name: str
    #: from the text to the value; a ValueError's message says what is expected
    parse: Callable[[str], Any]
    help: str
    metavar: str = "TEXT"
    #: when nothing is set; None: the key is absent from what ``from_options`` gets
    default: Any = None
    #: without the dashes, where it is not the name
    flag_name: str | None = None
    #: a tube that sets it has this handler
    selects: bool = False
    #: yes or no: the flag takes no argument
    switch: bool = False

    @property
    def flag(self) -> str:
        """The flag, with its dashes."""
        return "--" + (self.flag_name or self.name.replace("_", "-"))

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "BEANSTALKT_" + self.flag[2:].replace("-", "_").upper()


class Handler(abc.ABC):
    """Runs the jobs of one tube. See the module's text for how to write one."""

    options: ClassVar[tuple[Option, ...]] = ()
    defaults: ClassVar[Mapping[str, Any]] = {}
    sections: ClassVar[tuple[str, ...]] = ()
    #: whether code of the jobs runs in the runner's process, where it may start processes
    in_process: bool = True

    @classmethod
    @abc.abstractmethod
    def from_options(cls, values: Mapping[str, Any], workers: int) -> Handler:
        """The handler for a tube.

        :param values: the parsed options of this handler that are set or have a default; and
            each of ``sections`` that the file has, as a mapping from key to text
        :param workers: how many jobs at once it will be given at most
        :raises ValueError: with a message for whoever wrote the configuration
        """

    @abc.abstractmethod
    def describe(self) -> str:
        """What it runs, for the log line at the start."""

    def check(self) -> None:  # noqa: B027 - most handlers need none
        """Raise :class:`CannotStart` if no job could be run now."""

    @abc.abstractmethod
    async def run(self, work: Work) -> Outcome:
        """Do one job."""

    async def close(self) -> None:  # noqa: B027 - most handlers hold nothing
        """Let go of what is held. No job runs any more, and none will."""
