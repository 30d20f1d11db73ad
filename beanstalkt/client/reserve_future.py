"""The Future of a reserve, in which no job is ever lost."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

from ..job import Job
from .requests import Holder

_result = asyncio.Future.result
_collected = getattr(asyncio.Future, "__del__")  # noqa: B009 - no stub tells of it


class ReserveFuture(asyncio.Future[Job]):
    """What the caller of a reserve waits for.

    A task can be cancelled between the reply and its waking up. The await below then ends in
    CancelledError although the Future has a job, and that job is given back. So is the job of a
    Future that is collected before its result was taken, as the Futures of a cancelled
    ``gather`` are.
    """

    __slots__ = ("holder",)  # set with each; the other attribute seldom

    #: the connection that the reserve is on; None once its job was taken
    holder: Holder | None
    #: whether any reserve may have its job; not so for a reserve of one job by its id
    to_anyone = True

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the reserve; a job that comes for it is given back."""
        if not super().cancel(msg):
            return False
        if self.holder is not None:
            self.holder.abandon(self)
        return True

    def result(self) -> Job:
        """Return the job, which is the caller's from here on."""
        job: Job = _result(self)
        self.holder = None
        return job

    def __await__(self) -> Generator[Any, None, Job]:
        if not self.done():
            # What the await of every Future does; to go through that one takes longer.
            self._asyncio_future_blocking = True
            try:
                yield self
            except BaseException:
                if self._has_job():
                    _give_back(self.result(), self.to_anyone)
                raise
        # What `result` does; a call more takes longer.
        job: Job = _result(self)
        self.holder = None
        return job

    __iter__ = __await__

    def _has_job(self) -> bool:
        return self.done() and not self.cancelled() and self.exception() is None

    def __del__(self) -> None:
        try:
            taken = self.holder is None
        except AttributeError:  # interrupted while it was made
            return
        if not taken:
            _collected(self)
            self._return_untaken()

    def _return_untaken(self) -> None:
        """Let the loop give the job back: the collector may run in any thread, at any time."""
        try:
            if self._has_job():
                self.get_loop().call_soon_threadsafe(_give_back, self.result(), self.to_anyone)
        except Exception:
            pass  # the loop or the interpreter has ended, and the connection with it


def _give_back(job: Job, to_anyone: bool) -> None:
    origin: Any = job.origin  # the connection that reserved it
    origin.give_back(job, to_anyone)
