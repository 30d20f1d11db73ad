"""The blocking client: one short method a verb."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from ..client.puts import Puts
from ..client.requests import PutChunk, ReserveJobRequest, ReserveNowRequest, ReserveRequest
from ..client.timing import DEADLINE_PAUSE
from ..errors import BeanstalkException, ConnectionLost, DeadlineSoon, TimedOut
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR, job_id_of
from ..job import Job as AnyJob
from ..protocol.commands import (
    BURY,
    DELETE,
    IGNORE,
    KICK,
    KICK_JOB,
    LIST_TUBE_USED,
    LIST_TUBES,
    LIST_TUBES_WATCHED,
    PAUSE_TUBE,
    PEEK,
    PEEK_BURIED,
    PEEK_DELAYED,
    PEEK_READY,
    PUT,
    RELEASE,
    RESERVE,
    RESERVE_JOB,
    RESERVE_WITH_TIMEOUT,
    STATS,
    STATS_JOB,
    STATS_TUBE,
    TOUCH,
    USE,
    WATCH,
    encode_put,
)
from ..protocol.stats import Stats, StatsJob, StatsTube
from .client_connection import ClientConnection
from .connection import Result
from .job import Job

Body = bytes | bytearray | memoryview | str


class Client(ClientConnection):
    """Talk to one beanstalkd, without an event loop: a call returns when it was answered.

    It connects with :meth:`connect`, with ``with``, or with its first call, and again with the
    next call after the connection was lost; the tubes are restored first. What was sent is never
    sent again by itself, but for a waiting reserve.

    Threads may share a client: one call goes after the other. A waiting reserve keeps the others
    waiting; after 5 s a warning says so. A child process gets a connection of its own.

    :param host: a name or an IP address
    :param port: the port
    :param connect_timeout: seconds that :meth:`connect` keeps trying; 0: it tries once; None or
        infinite: for ever
    :param unix_path: a unix socket, instead of host and port
    :param ssl_options: makes the connection a TLS one
    :param reconnect_delay: seconds between two attempts of :meth:`connect` or of a reserve
    :param max_reconnect_delay: seconds up to which that delay grows, doubling; None: it does not
    :param response_timeout: seconds that the server may take for a reply while nothing of it
        moves, and for a reserve from the end of its own timeout; infinite: no limit
    :param timing: every other interval, for those who test their programs

    Every verb raises ConnectionLost when there is no connection and none can be made, and when
    it is lost before the reply. Raises InvalidArgument.
    """

    # --- producing ---

    def put(
        self,
        body: Body,
        priority: int = DEFAULT_PRIORITY,
        delay: int = 0,
        ttr: int = DEFAULT_TTR,
        *,
        tube: str | None = None,
    ) -> int:
        """Put a job into the tube in use, or into `tube`, and return its id (section 3.1).

        :param body: a str is sent as UTF-8
        :param priority: 0 is the most urgent, 2**32 - 1 the least
        :param delay: seconds before it is ready
        :param ttr: seconds that a worker may hold it; 0 counts as 1

        Raises JobTooBig, Draining, OutOfMemory, Buried (with ``.job_id``).
        """
        payload = encode_put(priority, delay, ttr, body)
        job_id: int
        job_id = self._ask(PUT, payload) if tube is None else self._ask_in(tube, PUT, payload)
        return job_id

    def put_many(
        self,
        bodies: Iterable[Body],
        priority: int = DEFAULT_PRIORITY,
        delay: int = 0,
        ttr: int = DEFAULT_TTR,
        *,
        tube: str | None = None,
    ) -> list[int]:
        """Put a job for each body, with a bounded number under way; return the ids in order.

        Any iterable will do; bodies are taken from it as the server keeps up. At the first error
        no more are taken. Once the puts under way are answered, that error is raised with
        ``.ids``: for each body that was taken its id, or None where the job did not go in (or
        where that is not known, because the connection was lost). Errors of the iterable are
        raised in the same way.
        """
        puts = Puts(bodies, (priority, delay, ttr))
        if tube is not None:
            USE.encode(tube)

        def ended(error: BeanstalkException | None) -> None:
            if error is not None:
                puts.fail(error)

        lock = self._lock
        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                connection = self._ready(PUT)
                home = self._tubes.asked
                connection.put_many(
                    lambda: None if puts.exhausted else puts.next_chunk(ended),
                    home if tube is None else tube,
                    home,
                )
                self._note(connection)
            finally:
                lock.busy = False
        if connection.ended and not puts.exhausted:
            # It ended between two chunks, when no put was under way that could have been told.
            puts.fail(
                ConnectionLost(f"put: the connection was lost: {connection.reason}", command="put")
            )
        error = puts.failure()
        if error is not None:
            raise error
        return [job_id for job_id in puts.ids if job_id is not None]

    def put_chunk(self, chunk: PutChunk, tube: str | None = None) -> None:
        """Put some of many bodies, for what is built on a client; then the chunk is settled."""
        lock = self._lock
        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                connection = self._ready(PUT)
                chunks = [chunk]
                home = self._tubes.asked
                connection.put_many(
                    lambda: chunks.pop() if chunks else None, home if tube is None else tube, home
                )
                self._note(connection)
            except ConnectionLost as error:
                chunk.lost(self._reason, sent=False, cause=error)
            finally:
                lock.busy = False

    def use(self, name: str) -> str:
        """Use a tube for later puts, peeks and kicks; return its name (section 3.2)."""
        USE.encode(name)
        lock = self._lock
        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                connection = self._ready(USE)
                result = Result()
                connection.call(self._tubes.use(name, result, connected=True))
                return str(self._outcome(connection, result))
            finally:
                lock.busy = False

    # --- consuming ---

    def reserve(self, timeout: int | None = None) -> Job:
        """Reserve a job from the tubes watched, waiting for one if need be (section 4.1).

        :param timeout: seconds to wait; 0: not at all; None: for ever

        While it waits, calls of other threads wait too. It goes on after a lost connection.
        Raises TimedOut, DeadlineSoon, and ConnectionLost when the client is closed meanwhile.
        """
        if timeout is None:
            command, payload = RESERVE, RESERVE.form
        else:
            command, payload = RESERVE_WITH_TIMEOUT, RESERVE_WITH_TIMEOUT.encode(timeout)
        kind = ReserveNowRequest if timeout == 0 else ReserveRequest
        return self._reserve(kind, command, payload, timeout)

    def reserve_job(self, job_id: int | AnyJob) -> Job:
        """Reserve the job with this id, whatever its tube and state (section 4.2).

        Raises NotFound, also when another connection or this one holds it.
        """
        payload = RESERVE_JOB.encode(job_id_of(job_id))
        return self._reserve(ReserveJobRequest, RESERVE_JOB, payload)

    def jobs(self, timeout: int | None = None) -> Iterator[Job]:
        """Yield reserved jobs: ``for job in client.jobs(timeout=5)``.

        Ends when none came within `timeout` seconds. Goes on after a lost connection, and
        after DEADLINE_SOON; raises ConnectionLost when the client is closed.
        """
        while True:
            try:
                job = self.reserve(timeout)
            except TimedOut:
                return
            except DeadlineSoon:
                time.sleep(DEADLINE_PAUSE)
            except ConnectionLost:
                if self._closing.is_set():
                    raise
                self._connect_again()
            else:
                yield job

    def delete(self, job_id: int | AnyJob) -> None:
        """Delete a job that this connection, or no connection, has reserved (section 4.3).

        Raises NotFound.
        """
        self._settle(DELETE, job_id)

    def release(
        self,
        job_id: int | AnyJob,
        priority: int | None = DEFAULT_PRIORITY,
        delay: int = 0,
    ) -> None:
        """Return a reserved job to its tube (section 4.4).

        :param priority: its new priority; None: it keeps the one it has
        :param delay: seconds before it is ready again

        Raises NotFound, Buried.
        """
        if priority is None:
            self._settle(RELEASE, job_id, 0, delay, keep_priority=True)
        else:
            self._settle(RELEASE, job_id, priority, delay)

    def bury(self, job_id: int | AnyJob, priority: int | None = DEFAULT_PRIORITY) -> None:
        """Bury a reserved job: put it aside until it is kicked (section 4.5).

        :param priority: its new priority; None: it keeps the one it has

        Raises NotFound.
        """
        if priority is None:
            self._settle(BURY, job_id, 0, keep_priority=True)
        else:
            self._settle(BURY, job_id, priority)

    def touch(self, job_id: int | AnyJob) -> None:
        """Touch a reserved job: its time to run begins again (section 4.6). Raises NotFound."""
        self._settle(TOUCH, job_id)

    def watch(self, name: str) -> int:
        """Watch a tube, to reserve its jobs too; return how many are watched (section 4.7)."""
        result = Result()
        return int(self._call(WATCH, self._tubes.watch(name, result), result))

    def ignore(self, name: str) -> int:
        """Stop watching a tube; return the number of tubes still watched (section 4.8).

        Raises NotIgnored for the last one.
        """
        result = Result()
        return int(self._call(IGNORE, self._tubes.ignore(name, result), result))

    # --- looking and moving ---

    def peek(self, job_id: int | AnyJob) -> Job:
        """Look at a job without reserving it (section 5.1). Raises NotFound."""
        return self._peek(PEEK, PEEK.encode(job_id_of(job_id)))

    def peek_ready(self, *, tube: str | None = None) -> Job:
        """Look at the next ready job of the tube in use, or of `tube`. Raises NotFound."""
        return self._peek(PEEK_READY, PEEK_READY.form, tube)

    def peek_delayed(self, *, tube: str | None = None) -> Job:
        """Look at the delayed job that is ready first, of the tube in use or of `tube`.

        Raises NotFound.
        """
        return self._peek(PEEK_DELAYED, PEEK_DELAYED.form, tube)

    def peek_buried(self, *, tube: str | None = None) -> Job:
        """Look at the job that was buried first, in the tube in use or in `tube`.

        Raises NotFound.
        """
        return self._peek(PEEK_BURIED, PEEK_BURIED.form, tube)

    def kick(self, bound: int = 1, *, tube: str | None = None) -> int:
        """Make up to `bound` jobs ready, and return how many (section 5.2).

        Buried jobs are kicked if the tube has any, else delayed ones. The tube is the one in use,
        unless `tube` is given.
        """
        payload = KICK.encode(bound)
        kicked: int
        kicked = self._ask(KICK, payload) if tube is None else self._ask_in(tube, KICK, payload)
        return kicked

    def kick_job(self, job_id: int | AnyJob) -> None:
        """Make a buried or delayed job ready (section 5.3). Raises NotFound."""
        self._ask(KICK_JOB, KICK_JOB.encode(job_id_of(job_id)))

    def list_tubes(self) -> list[str]:
        """Return the names of all tubes (section 5.4)."""
        return list(self._ask(LIST_TUBES, LIST_TUBES.form))

    def list_tube_used(self) -> str:
        """Return the tube in use, as the server has it (section 5.4)."""
        return str(self._ask(LIST_TUBE_USED, LIST_TUBE_USED.form))

    def list_tubes_watched(self) -> list[str]:
        """Return the tubes watched, as the server has them (section 5.4)."""
        return list(self._ask(LIST_TUBES_WATCHED, LIST_TUBES_WATCHED.form))

    def pause_tube(self, name: str, delay: int) -> None:
        """Pause a tube: reserve none of its jobs for `delay` seconds; 0 ends that (section 5.5).

        Raises NotFound.
        """
        self._ask(PAUSE_TUBE, PAUSE_TUBE.encode(name, delay))

    # --- statistics ---

    def stats_job(self, job_id: int | AnyJob) -> StatsJob:
        """Return the statistics of a job (section 6.2). Raises NotFound."""
        stats: StatsJob = self._ask(STATS_JOB, STATS_JOB.encode(job_id_of(job_id)))
        return stats

    def stats_tube(self, name: str) -> StatsTube:
        """Return the statistics of a tube (section 6.3). Raises NotFound."""
        stats: StatsTube = self._ask(STATS_TUBE, STATS_TUBE.encode(name))
        return stats

    def stats(self) -> Stats:
        """Return the statistics of the server (section 6.4)."""
        stats: Stats = self._ask(STATS, STATS.form)
        return stats
