"""The runner for a Python program: one tube, one coroutine function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidArgument
from ..protocol.address import Address
from .config import values
from .config.loading import COMMON, make_policy
from .config.settings import Settings, TubeSettings
from .handlers.coroutine import CoroutineHandler, Function
from .runner import Runner
from .signals import signals as handled


class Worker:
    """Reserves the jobs of a tube and awaits a function for each, many at a time.

    ::

        async def handler(job):
            ...  # job.id, job.body, job.attempt; see beanstalkt.WorkerJob

        await Worker("beanstalk://localhost:11300", "mail", handler, concurrency=50).run()

    When the function returns, the job is deleted. When it raises Retry it is released, Reject
    buries it, and any other exception is an unknown fail. Its time limit is `timeout`, else
    the job's ttr; it is cancelled then.

    :param server: URL
    :param concurrency: jobs at the same time, each with a connection of its own
    :param burst: end when nothing is ready
    :param max_jobs: end after that many jobs
    :param connect_timeout: seconds for the first connection; None: for ever
    :param options: ``timeout``, ``kill_grace``, ``max_attempts``, ``on_timeout``,
        ``on_temporary_fail``, ``on_permanent_fail``, ``on_unknown_fail``, ``delay``, ``backoff``,
        ``max_delay``, as in the configuration file (``timeout=30, on_unknown_fail="release:60"``)

    Raises InvalidArgument.
    """

    def __init__(
        self,
        server: str,
        tube: str,
        handler: Function,
        *,
        concurrency: int = 1,
        burst: bool = False,
        max_jobs: int | None = None,
        connect_timeout: float | None = None,
        **options: Any,
    ) -> None:
        if not callable(handler):
            raise InvalidArgument(f"a handler must be a coroutine function, not {handler!r}")
        if max_jobs is not None:
            _read(values.whole(1), "max_jobs", max_jobs)
        chosen = _read_options({"workers": concurrency, **options})
        settings = TubeSettings(
            _read(values.tube_name, "tube", tube),
            CoroutineHandler,
            {"function": handler},
            chosen["workers"],
            chosen["timeout"],
            chosen["kill_grace"],
            make_policy(chosen, ()),
        )
        self._runner = Runner(
            Settings(str(Address.parse(server)), (settings,)),
            burst=burst,
            max_jobs=max_jobs,
            connect_timeout=connect_timeout,
        )

    async def run(self, signals: bool = True) -> None:
        """Work until stopped, or until the burst or `max_jobs` is over.

        :param signals: stop on SIGTERM and SIGINT, pause on SIGUSR1, go on on SIGUSR2, as the
            command line does; only possible in the main thread

        Raises ConnectionLost when no server could be reached at first. Cancelled, it stops
        the handlers and releases their jobs.
        """
        if not signals:
            await self._runner.run()
            return
        with handled(self._runner):
            await self._runner.run()

    def stop(self) -> None:
        """Take no new job, finish what runs, and end. Called again: cancel what runs, and
        release those jobs."""
        self._runner.stop()


def _read_options(options: Mapping[str, Any]) -> dict[str, Any]:
    known = {option.name: option for option in COMMON}
    for name in options:
        if name not in known:
            raise InvalidArgument(f"{name} is no option; there are {', '.join(known)}")
    return {
        name: option.default
        if options.get(name) is None
        else _read(option.parse, name, options[name])
        for name, option in known.items()
    }


def _read(parse: Any, name: str, value: object) -> Any:
    try:
        return parse(str(value))
    except ValueError as error:
        raise InvalidArgument(f"{name}: {error}, not {value!r}") from None
