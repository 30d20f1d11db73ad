"""The lock of a blocking client: one call at a time, whatever the number of threads."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

log = logging.getLogger("beanstalkt")


class CallLock:
    """Lets one thread at a time use the client, and says who keeps the others waiting.

    A thread that has it already is let in, as by a signal's handler or by the bodies that
    put_many takes; the connection refuses a call within a call.

    :param warning: seconds that a thread waits before a warning says what it waits for
    """

    def __init__(self, warning: float) -> None:
        self._warning = warning
        #: the reserve that the server may take its time to answer; None while there is none
        self.waiting: str | None = None
        self.renew()

    def renew(self) -> None:
        """Forget the threads that have it or wait for it: they are the parent process's."""
        lock = threading.RLock()
        self._acquire = lock.acquire
        self.release = lock.release
        self.waiting = None

    def acquire(self) -> None:
        """Wait until no other thread uses the client."""
        # Without a wait is the rule.
        if self._acquire(False) or self._acquire(timeout=self._warning):
            return
        if self.waiting is not None:
            log.warning(
                "thread %s has waited %g s for a client on which another thread waits in %s: use "
                "a Client for each thread that reserves, or a reserve with a short timeout",
                threading.current_thread().name,
                self._warning,
                self.waiting,
            )
        self._acquire()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
