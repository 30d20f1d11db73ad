"""The base of all handlers: a handler turns a job into an outcome.

To write a handler:

1. Subclass :class:`Handler`. ``run(work)`` does one job and returns an
   :class:`~beanstalkt.worker.policy.outcome.Outcome` of one of the kinds that a handler may
   return. As many calls of it run at once as the tube has workers, on the event loop, which it
   must not block. An exception that it raises is an unknown fail.
2. **To stop a handler, the slot cancels it**: when the time limit has passed, when the runner is
   told to stop now, and when the job was lost to another worker. The handler then has
   ``work.kill_grace`` seconds to end, by raising CancelledError or by returning. An outcome
   SUCCESS still counts as one; any other is replaced by the reason why the handler was stopped,
   with the fields of the outcome kept for the log. A second cancellation means: at once. Most
   handlers need no line for this.
3. The slot touches the job, takes it back after a lost connection, settles it and logs it. A
   handler never talks to the server. What it has to say while a job runs are events, which
   ``publish_event`` hands to the observers.
4. Name the configuration keys in ``options``, each an :class:`Option`. It is a key of a
   ``[tube:...]`` section, a flag and an environment variable at the same time. A tube has the
   handler of which it sets an option with ``selects=True``. ``defaults`` gives other defaults to
   the common options, such as ``{"on_temporary_fail": RELEASE}``. ``sections`` names sections of
   the file that belong to the handler, such as ``("dispatch",)``.
5. ``from_options`` makes the handler of a tube; it raises ValueError if the values do not go
   together. ``check`` is called before the first job, and after NOT_STARTED before the next one:
   it raises :class:`CannotStart` while no job can be run.
6. Announce the class in the distribution that brings it, as an entry point of the group
   ``beanstalkt.handlers``. In ``pyproject.toml``::

       [project.entry-points."beanstalkt.handlers"]
       mine = "my_package.handler:MyHandler"
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...job import Job
from ...protocol.stats import StatsJob
from ..events import Event
from ..policy.outcome import Outcome


class CannotStart(Exception):
    """Report that no job can be run now, for example because the command is missing."""


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
        "outbox_id",
        "server",
        "server_name",
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
        outbox_id: int | None = None,
        server_name: str = "",
    ) -> None:
        super().__init__(id, body)
        #: name of the tube from which the job was reserved
        self.tube = tube
        #: reply to ``stats-job`` just after the job was reserved
        self.counters = counters
        #: which attempt at the job this is, from 1
        self.attempt = attempt
        #: attempts that the job may have; 0: no limit
        self.max_attempts = max_attempts
        #: seconds from now after which the handler is cancelled
        self.time_limit = time_limit
        #: seconds that the handler has to end after it was cancelled
        self.kill_grace = kill_grace
        #: URL of the server
        self.server = server
        #: what the configuration calls the server; its URL if it was given no name
        self.server_name = server_name or server
        #: number of the slot among the tube's workers, from 1; a slot runs one job at a time
        self.slot = slot
        #: id of the row of the outbox that the job comes from; None: it comes from elsewhere. If
        #: a relay was killed, two jobs may come from the same row
        self.outbox_id = outbox_id


#: the name that :class:`WorkerJob` had before it was public
Work = WorkerJob


@dataclass(frozen=True)
class Option:
    """Describe a setting of a tube: its key in the file, its flag, and its environment variable.

    ``Option("pass_tube", …)`` is ``pass_tube = yes`` in the file, ``--pass-tube`` as a flag and
    ``BEANSTALKT_PASS_TUBE=yes`` in the environment.
    """

    name: str
    #: reads the value from its text; raises ValueError that says what is expected
    parse: Callable[[str], Any]
    help: str
    metavar: str = "TEXT"
    #: value if none is set; None: ``from_options`` does not get the key
    default: Any = None
    #: the flag without its dashes, if it differs from the name
    flag_name: str | None = None
    #: whether a tube that sets the option has the handler of the option
    selects: bool = False
    #: whether the value is yes or no, and the flag takes no argument
    switch: bool = False

    @property
    def flag(self) -> str:
        """The flag of the command line, with its dashes."""
        return "--" + (self.flag_name or self.name.replace("_", "-"))

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "BEANSTALKT_" + self.flag[2:].replace("-", "_").upper()


def _drop(event: Event) -> None:
    """Do nothing with an event, outside a runner."""


class Handler(abc.ABC):
    """Run the jobs of one tube. The docstring of the module explains how to write a handler."""

    #: settings of the handler
    options: ClassVar[tuple[Option, ...]] = ()
    #: defaults of common options that differ from the usual ones
    defaults: ClassVar[Mapping[str, Any]] = {}
    #: names of the sections of the configuration file that belong to the handler
    sections: ClassVar[tuple[str, ...]] = ()
    #: whether code of the user's runs in the runner's process, where it may start processes
    in_process: bool = True
    #: hands an event to the runner's observers, from the event loop; the runner sets it
    publish_event: Callable[[Event], object] = staticmethod(_drop)

    @classmethod
    @abc.abstractmethod
    def from_options(cls, values: Mapping[str, Any]) -> Handler:
        """Make the handler of a tube.

        :param values: the values of `options` that are set or have a default; and each of
            `sections` that the file has, as a mapping from key to text
        :raises ValueError: with a message for whoever wrote the configuration
        """

    @abc.abstractmethod
    def describe(self) -> str:
        """Return what the handler runs, for the log line at the start."""

    def check(self) -> None:  # noqa: B027 - most handlers need none
        """Raise :class:`CannotStart` if no job can be run now."""

    @abc.abstractmethod
    async def run(self, work: WorkerJob) -> Outcome:
        """Do one job, and return how that ended."""

    async def close(self) -> None:  # noqa: B027 - most handlers hold nothing
        """Release what the handler holds. It is called after the last job."""
