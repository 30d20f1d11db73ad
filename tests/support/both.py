"""The blocking client with the face of the asynchronous one, so that tests may run with either."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, cast

from beanstalkt import Client, Job, blocking


class InThread:
    """Makes each call of a blocking client in the one thread of its own, in order.

    What it returns is a Future, as of the other client. Its jobs come back to it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        def make_job(job_id: int, body: bytes, _: object, origin: object) -> Job:
            # Its methods lead to the calls in the thread.
            return Job(job_id, body, cast("Any", self), origin)

        class Behind(blocking.Client):
            job_type: Any = staticmethod(make_job)

        self.blocking = Behind(*arguments, **options)
        self._thread: ThreadPoolExecutor | None = None
        self._calls: set[asyncio.Future[Any]] = set()

    @classmethod
    def from_url(cls, url: str, **options: Any) -> InThread:
        made = cls()
        made.blocking = type(made.blocking).from_url(url, **options)
        return made

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.blocking, name)
        if not inspect.ismethod(found) or name in ("closed", "set_reconnect_callback"):
            return found
        return partial(self._call, found)

    def _call(self, verb: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if arguments[-1:] == (None,) and verb.__name__ in ("delete", "touch", "stats_job"):
            arguments = arguments[:-1]  # the callback that a job passes on
        elif verb.__name__ in ("release", "bury") and isinstance(arguments[0], Job):
            arguments = arguments[: {"release": 3, "bury": 2}[verb.__name__]]
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "blocking client")
        loop = asyncio.get_running_loop()
        call = partial(verb, *arguments, **options)
        future = asyncio.ensure_future(loop.run_in_executor(self._thread, call))
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        future.add_done_callback(lambda future: future.cancelled() or future.exception())
        return future

    def jobs(self, timeout: int | None = None) -> AsyncIterator[Job]:
        return self._jobs(timeout)

    async def _jobs(self, timeout: int | None) -> AsyncIterator[Job]:
        jobs: Any = self.blocking.jobs(timeout)
        while (job := await self._call(next, jobs, None)) is not None:
            yield job

    async def close(self) -> None:
        """Close it from another thread than the one that may wait, and end that one."""
        await asyncio.to_thread(self.blocking.close)
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.shutdown)

    async def back(self) -> None:
        """Wait until it is connected again, as it is only by a call: one that waits, or this."""
        while self.closed():
            if self._calls:
                await asyncio.sleep(0.001)
            else:
                await self.connect()

    async def __aenter__(self) -> InThread:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


Kind = Callable[..., Client]
"""The class of a client: that of the event loop, or the blocking one in a thread."""

KINDS: list[Any] = [Client, InThread]
