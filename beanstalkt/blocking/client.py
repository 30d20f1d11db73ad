"""The blocking client: one short method a verb."""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from ..client.not_copied import NotCopied
from ..client.puts import Puts
from ..client.requests import (
    Holder,
    PeekRequest,
    PriorityLookup,
    PutChunk,
    Request,
    ReserveJobRequest,
    ReserveNowRequest,
    ReserveRequest,
    reservation_lost,
)
from ..client.sockets import check_ssl_options, reason_of
from ..client.timing import DEADLINE_PAUSE, Timing, check_connect_timeout, timing_of
from ..client.tubes import Tubes
from ..errors import (
    BeanstalkException,
    ConnectionLost,
    DeadlineSoon,
    InvalidArgument,
    TimedOut,
)
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR, job_id_of
from ..job import Job as AnyJob
from ..protocol.address import DEFAULT_PORT, Address, path_of
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
    Command,
    encode_put,
)
from ..protocol.stats import Stats, StatsJob, StatsTube
from .connection import NEVER, Connection, Result, open_connection
from .job import Job
from .lock import CallLock

if TYPE_CHECKING:
    import ssl  # takes long to import, and is needed for TLS alone

    from typing_extensions import Unpack

    from ..client.options import BlockingOptions

log = logging.getLogger("beanstalkt")

Body = bytes | bytearray | memoryview | str
ClientT = TypeVar("ClientT", bound="Client")

IDLE = 0.01
"""Seconds after which a connection is looked at before it is used again."""


def make_reserve(
    command: Command,
    payload: bytes,
    kind: type[ReserveRequest],
    client: Client,
    holder: Holder,
    timeout: int | None,
    now: float,
) -> ReserveRequest:
    """Return the request of a reserve whose timeout counts from now."""
    result = Result()
    result.holder = holder
    request = kind(command, payload, result, client, timeout)
    request.begin(now)
    return request


class Client(NotCopied):
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

    job_type = Job
    """The class of the jobs that it returns."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = DEFAULT_PORT,
        connect_timeout: float | None = socket.getdefaulttimeout(),
        *,
        unix_path: str | os.PathLike[str] | None = None,
        ssl_options: ssl.SSLContext | None = None,
        reconnect_delay: float = 1.0,
        max_reconnect_delay: float | None = None,
        response_timeout: float = 60.0,
        timing: Timing | None = None,
    ) -> None:
        connect_timeout = check_connect_timeout(connect_timeout)
        ssl_options = check_ssl_options(ssl_options)
        #: where the server is
        self.address = Address(host, port, path_of(unix_path), ssl_options is not None)
        self._connect_timeout = connect_timeout
        self._ssl_options = ssl_options
        self._timing = timing_of(timing, reconnect_delay, max_reconnect_delay, response_timeout)
        self._tubes = Tubes()
        self._lock = CallLock(self._timing.hold_warning)
        self._connection: Connection | None = None
        self._closing = threading.Event()  # set by close()
        self._once = False  # there has been a connection
        self._reason = "not connected"
        self._on_reconnect: Callable[[], object] | None = None
        _clients.add(self)

    @classmethod
    def from_url(cls: type[ClientT], url: str, **options: Unpack[BlockingOptions]) -> ClientT:
        """Make a client for ``beanstalk://host:port``, ``beanstalks://…`` (TLS), ``unix:///path``.

        The options are those of the constructor. Raises InvalidArgument.
        """
        address = Address.parse(url)
        if address.tls:
            import ssl

            options.setdefault("ssl_options", ssl.create_default_context())
        return cls(address.host, address.port, unix_path=address.path, **options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}{' (closed)' if self.closed() else ''}>"

    # --- the connection ---

    def connect(self) -> None:
        """Connect, trying again until that works or `connect_timeout` is over.

        Raises ConnectionLost when the time is over.
        """
        lock = self._lock
        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                self._closing.clear()
                self._connect(self._connect_timeout)
            finally:
                lock.busy = False

    def close(self) -> None:
        """Close the connection; a reserve of another thread fails at once.

        May be called at any time, also twice, and by a signal's handler. A call of another thread
        may take ``timing.close_timeout`` seconds more. :meth:`connect` opens the client again.
        """
        self._closing.set()
        lock = self._lock
        within = lock.mine()  # by a signal's handler: the call that it is in will see to the end
        if within or lock.waiting is not None or not lock.free(self._timing.close_timeout):
            self._interrupt()
        with lock.turn:
            if within:
                pass
            elif self._connection is not None:
                self._connection.close()
            self._reason = "the client was closed"

    def _interrupt(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def closed(self) -> bool:
        """Return whether the client has no connection at the moment."""
        connection = self._connection
        return connection is None or connection.ended

    def set_reconnect_callback(self, callback: Callable[[], object] | None) -> None:
        """Have `callback` called, without arguments, when a lost connection is back.

        By then the tubes are restored. It must not call the client. None: no callback. Raises
        InvalidArgument.
        """
        if callback is not None and not callable(callback):
            raise InvalidArgument(f"callback must be a function or None, not {callback!r:.100}")
        self._on_reconnect = callback

    @property
    def connection(self) -> Connection | None:
        """The last connection, for what is built on a client; None: there was none."""
        return self._connection

    @property
    def reason(self) -> str:
        """Why there is no connection, while there is none."""
        connection = self._connection
        if connection is not None and connection.ended and connection.reason:
            return connection.reason
        return self._reason

    @property
    def tubes(self) -> Tubes:
        """What each connection is to use and watch, for what is built on a client."""
        return self._tubes

    @property
    def using(self) -> str:
        """The tube that was last asked for with :meth:`use`, and granted."""
        return self._tubes.using

    @property
    def watching(self) -> frozenset[str]:
        """The tubes that reserves take from."""
        return frozenset(self._tubes.watching)

    def __enter__(self: ClientT) -> ClientT:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

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

    # --- how they are sent ---

    def _ask(
        self,
        command: Command,
        payload: bytes,
        job_id: int | None = None,
        origin: object = None,
    ) -> Any:
        """Send a command, and return the value of its reply.

        :param origin: the connection that reserved the job; None: any will do
        """
        lock = self._lock
        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                now = monotonic()
                connection = self._connection
                if connection is None or now - connection.used > IDLE:
                    connection = self._ready(command, job_id, origin)
                if origin is not None and origin is not connection.pipeline:
                    raise reservation_lost(command, job_id)
                value, request = connection.ask(command, payload, now)
                if request is not None:
                    return self._outcome(connection, request.result)
                return value
            finally:
                lock.busy = False

    def _call(
        self,
        command: Command,
        request: Request,
        result: Result,
        tube: str | None = None,
        job_id: int | None = None,
        origin: object = None,
    ) -> Any:
        """Send the request that `command` needs, to `tube` if one is given; return its result."""
        if tube is not None:
            USE.encode(tube)  # refused before anything is sent
        lock = self._lock
        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                connection = self._ready(command, job_id, origin)
                if origin is not None and origin is not connection.pipeline:
                    raise reservation_lost(command, job_id)
                if tube is None or tube == self._tubes.asked:
                    connection.call(request)
                else:
                    connection.call_in_tube(request, tube, self._tubes.asked)
                return self._outcome(connection, result)
            finally:
                lock.busy = False

    def _ask_in(self, tube: str, command: Command, payload: bytes) -> Any:
        """Send a command to `tube`, and return the value of its reply."""
        result = Result()
        return self._call(command, Request(command, payload, result), result, tube)

    def _peek(self, command: Command, payload: bytes, tube: str | None = None) -> Job:
        looked_into = None if command is PEEK else tube or self._tubes.asked
        result = Result()
        request = PeekRequest(command, payload, result, self, looked_into)
        job: Job = self._call(command, request, result, tube)
        return job

    def _settle(
        self, command: Command, job: int | AnyJob, *values: int, keep_priority: bool = False
    ) -> None:
        job_id: int
        origin: Any = None
        if isinstance(job, AnyJob):
            job_id, origin = job["id"], job.origin
        else:
            job_id = job
        payload = command.encode(job_id, *values) if values else command.encode(job_id)
        keeps = False
        try:
            if keep_priority:
                result = Result()
                lookup = PriorityLookup(job_id, Request(command, payload, result), *values[1:])
                self._call(command, lookup, result, None, job_id, origin)
            else:
                self._ask(command, payload, job_id, origin)
            keeps = command is TOUCH
        finally:
            # Whatever the server refused, it does not hold the job for this connection.
            if not keeps:
                if origin is not None:
                    origin.jobs.discard(job_id)
                elif self._connection is not None:
                    self._connection.pipeline.jobs.discard(job_id)

    def _reserve(
        self,
        kind: type[ReserveRequest],
        command: Command,
        payload: bytes,
        timeout: int | None = None,
    ) -> Job:
        lock = self._lock
        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                now = monotonic()
                connection = self._connection
                if connection is None or now - connection.used > IDLE:
                    connection = self._ready(command)
                deadline = 0.0
                if kind.blocks:
                    deadline = math.inf
                    if timeout is not None:
                        deadline = now + timeout + self._timing.response_timeout
                    lock.waiting = command.verb
                holder = connection.pipeline
                value, request = connection.ask(
                    command, payload, now, deadline, make_reserve, kind, self, holder, timeout, now
                )
                if request is not None:
                    connection = self._wait(request, connection, deadline)
                    job: Job = self._outcome(connection, request.result)
                    return job
                job_id, body = value
                client: Any = self
                holder.jobs.add(job_id)
                return self.job_type(job_id, body, client, holder)
            finally:
                lock.waiting = None
                lock.busy = False

    def _wait(
        self, request: ReserveRequest, connection: Connection, deadline: float
    ) -> Connection:
        """Wait at the server, over as many connections as that takes; return the last."""
        while connection.ended and request.wanted:
            self._note(connection)
            if self._closing.is_set():
                request.lost("the client was closed", sent=True)
                break
            connection = self._connect_for(request, connection)
            if request.wanted:
                request.move_to(connection.pipeline, monotonic())
                if self._closing.is_set():
                    connection.close()
                connection.call(request, deadline)
        return connection

    def _connect_for(self, request: ReserveRequest, lost: Connection) -> Connection:
        """Connect again for a reserve that waits; settle it if that fails until its timeout."""
        left = None if request.ends is None else request.ends - monotonic()
        try:
            if left is None or left > 0:
                return self._connect(left)
        except ConnectionLost:
            pass
        if self._closing.is_set():
            request.lost("the client was closed", sent=True)
        else:
            request.expire(f", and the connection was lost: {self._reason}")
        return lost

    def _outcome(self, connection: Connection, result: Any) -> Any:
        if connection.ended:
            self._note(connection)
        if result.error is not None:
            raise result.error
        return result.value

    def _note(self, connection: Connection) -> None:
        """Note why the connection has ended, if it has."""
        if connection.ended and not connection.noted and not self._closing.is_set():
            connection.noted = True
            self._reason = connection.reason
            log.warning(
                "lost the connection to %s: %s; connecting again with the next call",
                self.address,
                connection.reason,
            )

    # --- connecting ---

    def _ready(
        self, command: Command, job_id: int | None = None, origin: object = None
    ) -> Connection:
        """Return a connection that works, as far as that can be told without asking.

        :param origin: the one that reserved the job `job_id`; no other one will do

        Raises ConnectionLost, or ReservationLost.
        """
        connection = self._connection
        if connection is not None and self._works(connection):
            return connection
        if origin is not None:
            raise reservation_lost(command, job_id)
        if self._closing.is_set():
            raise ConnectionLost(
                f"{command.verb}: no connection to {self.address}: the client was closed",
                command=command.verb,
            )
        try:
            return self._open()
        except (OSError, BeanstalkException) as error:
            self._reason = reason_of(error)
            raise ConnectionLost(
                f"{command.verb}: no connection to {self.address}: {self._reason}",
                command=command.verb,
            ) from error

    def _works(self, connection: Connection) -> bool:
        """Return whether the connection seems to work; one that is idle may have ended unseen."""
        if monotonic() - connection.used < IDLE:
            return True
        if connection.ended:
            return False
        if connection.used == NEVER:
            connection.end("a call was interrupted")
        elif not connection.stale():
            return True
        self._note(connection)
        return False

    def _connect_again(self) -> None:
        lock = self._lock
        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                self._connect(None)
            finally:
                lock.busy = False

    def _connect(self, timeout: float | None) -> Connection:
        """Try to connect until it works or the seconds are over; raise ConnectionLost then."""
        connection = self._connection
        if connection is not None and self._works(connection):
            return connection
        begin = monotonic()
        delays = self._timing.delays()
        next_warning = 0.0
        while True:
            # 0 seconds are one attempt, which may take as long as any.
            left = max(begin + timeout - monotonic(), 1e-3) if timeout else math.inf
            try:
                return self._open(left)
            except (OSError, BeanstalkException) as error:
                self._reason = reason_of(error)
            if self._closing.is_set():
                raise ConnectionLost(f"no connection to {self.address}: the client was closed")
            now = monotonic()
            if timeout is not None and now >= begin + timeout:
                raise ConnectionLost(
                    f"no connection to {self.address} within {timeout:g} s: {self._reason}"
                )
            if now >= next_warning:
                next_warning = now + self._timing.warning_interval
                log.warning("cannot connect to %s: %s; trying again", self.address, self._reason)
            pause = next(delays)
            self._closing.wait(pause if timeout is None else min(pause, begin + timeout - now))

    def _open(self, limit: float = math.inf) -> Connection:
        """Connect once, and use and watch what the last connection did.

        Connecting takes `limit` seconds at the most, and so does each reply to what is replayed.
        """
        limit = min(limit, self._timing.attempt_timeout)
        connection = open_connection(self.address, self._ssl_options, self._timing, limit)
        replay = [
            (command, command.encode(name), Result()) for command, name in self._tubes.replay()
        ]
        if replay:
            try:
                connection.limit(min(limit, self._timing.response_timeout))
                connection.call_unit([Request(*each) for each in replay])
                connection.limit(self._timing.response_timeout)
                for _, _, result in replay:
                    if result.error is not None:
                        raise result.error
            except BaseException as error:
                connection.end(reason_of(error), error)
                raise
        self._tubes.asked = self._tubes.using
        self._connection = connection
        again, self._once = self._once, True
        if again:
            log.info("connected to %s again", self.address)
            if self._on_reconnect is not None:
                try:
                    self._on_reconnect()
                except Exception:
                    log.exception("the reconnect callback failed")
        return connection

    def _forked(self) -> None:
        """Let go, in a child process, of what belongs to its parent."""
        self._lock.renew()
        if self._connection is not None:
            self._connection.forget()
            self._connection = None


_clients: WeakSet[Client] = WeakSet()


def _renew_clients() -> None:
    for client in list(_clients):
        client._forked()


os.register_at_fork(after_in_child=_renew_clients)
