"""Run the jobs of one tube with a coroutine function, from a Python program."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn, TypeVar, cast

from ..client.timing import check_connect_timeout
from ..errors import InvalidArgument
from ..protocol.arguments import MAX_NUMBER
from ..protocol.servers import as_text
from .config import values
from .config.settings import Settings, TubeSettings
from .events import Observer
from .handlers.coroutine import CoroutineHandler, Function, is_coroutine_function
from .log.observer import LogObserver
from .log.systemd import SystemdObserver
from .policy.decision import BURY, RELEASE, Action, Policy
from .policy.retry import Backoff
from .runner import Runner
from .signals import signals as handled
from .timing import WorkerTiming

_T = TypeVar("_T")


class Worker:
    """Reserve the jobs of a tube and await a function for each, many at a time.

    ::

        async def handler(job):
            ...  # job.id, job.body, job.attempt; see beanstalkt.WorkerJob

        await Worker("beanstalk://localhost:11300", "mail", handler, concurrency=50).run()

    When the function returns, the job is deleted. When it raises Retry the job is released, Reject
    buries it, and any other exception is an unknown fail. The function is cancelled when its time
    limit has passed, which is `timeout`, or else the job's ttr.

    :param server: URL; or several servers, as :class:`~beanstalkt.Pool` takes them
    :param concurrency: jobs at the same time, each with a connection of its own
    :param burst: end when no job is ready
    :param max_jobs: end after that many jobs; None: no limit
    :param connect_timeout: seconds for the first connection; None: for ever
    :param timeout: seconds that a job may take; None: the ttr of each job
    :param kill_grace: seconds that the function has to end after it was cancelled
    :param max_attempts: how often a job is reserved before it is buried without running; 0: no
        limit
    :param on_timeout: what becomes of a job that took too long: ``"bury"``, ``"delete"``,
        ``"release"``, ``"release:SECONDS"``, or an Action
    :param on_temporary_fail: what becomes of a job after a temporary fail
    :param on_permanent_fail: what becomes of a job after a permanent fail
    :param on_unknown_fail: what becomes of a job after any other exception
    :param delay: seconds that a released job waits
    :param backoff: ``"fixed"``, or ``"exponential"``: the delay doubles with each attempt, with
        jitter on top
    :param max_delay: seconds that a delay grows to at most
    :param observers: callables that get every event, after the log; see
        :mod:`beanstalkt.worker.events`
    :param timing: how long the worker waits for what

    An option that is None has its default. Raises InvalidArgument.
    """

    def __init__(
        self,
        server: str | Mapping[str, str] | Iterable[str],
        tube: str,
        handler: Function,
        *,
        concurrency: int = 1,
        burst: bool = False,
        max_jobs: int | None = None,
        connect_timeout: float | None = None,
        timeout: float | None = None,
        kill_grace: float | None = 5.0,
        max_attempts: int | None = 10,
        on_timeout: str | Action | None = RELEASE,
        on_temporary_fail: str | Action | None = BURY,
        on_permanent_fail: str | Action | None = BURY,
        on_unknown_fail: str | Action | None = BURY,
        delay: int | None = 60,
        backoff: str | None = "fixed",
        max_delay: int | None = 3600,
        observers: Iterable[Observer] = (),
        timing: WorkerTiming | None = None,
        **unknown: NoReturn,
    ) -> None:
        _check_handler(handler)
        for name in unknown:
            options = ", ".join(Worker.__init__.__kwdefaults__ or ())
            raise InvalidArgument(f"{name} is not an option; the options are {options}")
        if not isinstance(burst, bool | None):
            raise InvalidArgument(f"burst must be True or False, not {burst!r:.100}")
        if max_jobs is not None:
            _whole("max_jobs", max_jobs, 1, 1)
        if timing is not None and not isinstance(timing, WorkerTiming):
            raise InvalidArgument(f"timing must be None or a WorkerTiming, not {timing!r:.100}")
        settings = TubeSettings(
            _check(values.tube_name, "tube", tube),
            CoroutineHandler,
            {"function": handler},
            _whole("concurrency", concurrency, 1, 1, values.MAX_WORKERS),
            _checked(values.check_duration, "timeout", timeout, None),
            _checked(values.check_seconds, "kill_grace", kill_grace, 5.0),
            Policy(
                _action("on_timeout", on_timeout, RELEASE),
                _action("on_temporary_fail", on_temporary_fail, BURY),
                _action("on_permanent_fail", on_permanent_fail, BURY),
                _action("on_unknown_fail", on_unknown_fail, BURY),
                max_attempts=_whole("max_attempts", max_attempts, 10),
                backoff=_backoff(delay, backoff, max_delay),
            ),
        )
        self._runner = Runner(
            Settings(as_text(server), (settings,)),
            burst=bool(burst),
            max_jobs=max_jobs,
            connect_timeout=check_connect_timeout(connect_timeout),
            observers=(LogObserver(), SystemdObserver(), *_observers(observers)),
            timing=timing,
        )

    async def run(self, signals: bool = True) -> None:
        """Run jobs until the worker is stopped, the burst is over, or `max_jobs` have run.

        :param signals: whether SIGTERM and SIGINT stop the worker, SIGUSR1 pauses and SIGUSR2
            resumes it, as on the command line; only possible in the main thread

        Raises ConnectionLost if no server can be reached at first. When the task is cancelled,
        the functions that run are cancelled and their jobs released.
        """
        if not signals:
            await self._runner.run()
            return
        with handled(self._runner):
            await self._runner.run()

    def stop(self) -> None:
        """Take no new job, finish those that run, and end.

        Called again, this cancels the functions that run and releases their jobs.
        """
        self._runner.stop()


def _check_handler(handler: object) -> None:
    """Raise InvalidArgument unless calling this with a job gives something to await."""
    if not is_coroutine_function(handler):
        raise InvalidArgument(
            f"a handler must be a coroutine function (async def), not {handler!r}; "
            "beanstalkt work --call runs plain functions"
        )
    try:
        # What a decorator has wrapped may take other arguments than its wrapper does.
        signature = inspect.signature(cast(Function, handler), follow_wrapped=False)
    except (TypeError, ValueError):  # not every function tells
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise InvalidArgument(
            f"a handler is called with the job alone, which {handler!r} does not allow: {error}"
        ) from None


def _observers(given: Iterable[Observer] | None) -> tuple[Observer, ...]:
    """Return the observers of a list; none for None. Raises InvalidArgument."""
    if given is None:
        return ()
    observers = tuple(given) if isinstance(given, Iterable) else (None,)
    if not all(map(callable, observers)):
        raise InvalidArgument(
            f"observers must be a list of what is called with every event, not {given!r:.100}"
        )
    return observers


def _checked(check: Callable[..., _T], name: str, value: object, default: _T) -> _T:
    """Return what `check` makes of the value; the default for None. Raises InvalidArgument."""
    return default if value is None else _check(check, name, value)


def _check(check: Callable[..., _T], name: str, value: object) -> _T:
    """Return what `check` makes of the value. Raises InvalidArgument."""
    try:
        return check(value)
    except ValueError as error:
        told = isinstance(value, str) and repr(value) in str(error)
        shown = "" if told else f", not {value!r}"
        raise InvalidArgument(f"{name}: {error}{shown}") from None


def _whole(name: str, value: object, default: int, least: int = 0, most: int = MAX_NUMBER) -> int:
    return _checked(lambda number: values.check_whole(number, least, most), name, value, default)


def _backoff(delay: object, kind: object, max_delay: object) -> Backoff:
    return Backoff(
        _whole("delay", delay, 60),
        _checked(values.backoff, "backoff", kind, False),
        _whole("max_delay", max_delay, 3600),
    )


def _action(name: str, value: object, default: Action) -> Action:
    return _checked(values.check_action, name, value, default)
