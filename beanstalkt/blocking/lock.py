"""The lock of a blocking client: one call at a time, whatever the number of threads."""

from __future__ import annotations

import logging
import threading

log = logging.getLogger("beanstalkt")


class CallLock:
    """Let one thread at a time call the client, and say who keeps the others waiting.

    A call is::

        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                ...
            finally:
                lock.busy = False

    The lock is the interpreter's own, so a signal's handler that raises cannot come between
    taking it and entering the ``with``. Should `busy` be left set all the same, `wait` finds that
    no call is under way. So the rule, no other thread, costs one lock.

    :param warning: seconds that a thread waits before a warning says what it waits for
    """

    def __init__(self, warning: float) -> None:
        self._warning = min(warning, threading.TIMEOUT_MAX)
        #: the reserve that the server may take its time to answer; None while there is none
        self.waiting: str | None = None
        self.renew()

    def renew(self) -> None:
        """Forget the threads that call or wait to call: they are the parent process's."""
        #: held by the thread that calls. Its signal handlers are not kept out by it: they
        #: would wait for ever.
        self.turn = threading.RLock()
        #: whether a call may be under way; set and cleared by the thread whose turn it is
        self.busy = False
        self.waiting = None
        self._condition = threading.Condition(self.turn)

    def wait(self) -> None:
        """Wait until no other thread calls; raise RuntimeError if this thread itself does.

        It does so by a signal's handler, or by the bodies that put_many takes.
        """
        if self.mine():
            raise RuntimeError(
                "the client was called while one of its own calls is under way in this "
                "thread, by a signal's handler, by the bodies that put_many takes, or by the "
                "reconnect callback: use a second Client"
            )
        warned = False
        while not self.free(self._warning):
            if self.waiting is not None and not warned:
                warned = True
                log.warning(
                    "thread %s has waited %g s for a client on which another thread waits in %s: "
                    "use a Client for each thread that reserves, or a reserve with a short "
                    "timeout",
                    threading.current_thread().name,
                    self._warning,
                    self.waiting,
                )

    def mine(self) -> bool:
        """Return whether a call of this very thread is under way."""
        try:
            self._condition.notify(0)  # raises RuntimeError in any other thread
        except RuntimeError:
            return False
        return True

    def free(self, timeout: float) -> bool:
        """Return whether no other thread calls, waiting up to `timeout` seconds for that."""
        if not self.turn.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            return False
        self.turn.release()
        return True
