"""The client: one short method a verb.

Every verb returns a Future at once; awaited, it returns the result or raises. A `callback` is
called with one argument: the result, or the exception as a value.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, nullcontext
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from tornado.ioloop import IOLoop

from ..errors import (
    ConnectionLost,
    DeadlineSoon,
    InvalidArgument,
    NotFound,
    TimedOut,
)
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR, Job, job_id_of
from ..protocol.address import DEFAULT_PORT, Address, path_of
from ..protocol.commands import (
    BURY,
    DELETE,
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
    Command,
    encode_put,
)
from ..protocol.stats import Stats, StatsJob, StatsTube
from .callbacks import Callback, call, call_when_done, call_with_result, check_callback
from .connection import Connection
from .not_copied import NotCopied
from .put_many import PutMany
from .reconnecting import Reconnector
from .requests import (
    NO_CONNECTION,
    PeekRequest,
    PriorityLookup,
    PutChunk,
    Request,
    ReserveJobRequest,
    ReserveNowRequest,
    ReserveRequest,
    SettleRequest,
    reservation_lost,
)
from .reserve_future import ReserveFuture
from .sockets import check_ssl_options
from .timing import DEADLINE_PAUSE, Timing, check_connect_timeout, timing_of
from .tubes import Tubes

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import Options

Future = asyncio.Future
ClientT = TypeVar("ClientT", bound="Client")


class UnknownLoop:
    """Stand for a loop that does not tell its thread, as asyncio's own one does.

    With this one, or while the loop does not run, each verb asks asyncio for the running loop:
    until Python 3.11 that takes a system call.
    """

    _thread_id = None


class Client(NotCopied):
    """Talk to one beanstalkd, over a connection that is restored when it is lost.

    :param host: a name or an IP address
    :param port: the port
    :param connect_timeout: seconds that :meth:`connect` keeps trying; 0: it tries once; None or
        infinite: for ever
    :param io_loop: Tornado's loop, if it is not to be the one that is current at connect()
    :param unix_path: a unix socket, instead of host and port
    :param ssl_options: makes the connection a TLS one
    :param reconnect_delay: seconds between two attempts to connect
    :param max_reconnect_delay: seconds up to which that delay grows, doubling; None: it does
        not; infinite: without a limit
    :param response_timeout: seconds that the server may take for a reply, counted while its
        command is the oldest and nothing of a long body moves, and for a reserve from the end of
        its own timeout; infinite: no limit
    :param timing: every other interval, for those who test their programs

    Every verb returns a Future, not a coroutine, and is sent even if nobody awaits it. What wants
    a coroutine, such as ``asyncio.create_task``, ``TaskGroup.create_task`` and
    ``asyncio.run_coroutine_threadsafe``, needs one that awaits the verb; ``asyncio.gather``,
    ``wait``, ``wait_for`` and ``ensure_future`` take the Future.

    A client is used from one thread, that of its loop: while that runs, every verb raises
    RuntimeError in another one, as asyncio does in its debug mode. Raises InvalidArgument.

    The sections that methods name are those of the protocol, ``beanstalkt/protocol/protocol.txt``.
    """

    job_type = Job
    """The class of the jobs that it returns."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = DEFAULT_PORT,
        connect_timeout: float | None = socket.getdefaulttimeout(),
        io_loop: IOLoop | None = None,
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
        if io_loop is not None and not isinstance(io_loop, IOLoop):
            raise InvalidArgument(
                f"io_loop must be None or a tornado.ioloop.IOLoop, not {io_loop!r:.100}"
            )
        self._connect_timeout = connect_timeout
        self._io_loop = io_loop
        self._loop: asyncio.AbstractEventLoop | None = None  # until it is needed
        self._runner: Any = UnknownLoop  # the loop, if it tells the thread that runs it
        self._tubes = Tubes()
        self._on_reconnect: Callback | None = None
        self._reconnector = Reconnector(
            self.address,
            ssl_options,
            timing_of(timing, reconnect_delay, max_reconnect_delay, response_timeout),
            self._replay,
            self._held_for,
            self._reconnected,
        )

    @classmethod
    def from_url(cls: type[ClientT], url: str, **options: Unpack[Options]) -> ClientT:
        """Make a client for ``beanstalk://host:port``, ``beanstalks://…`` (TLS), ``unix:///path``.

        The options are those of the constructor. Raises InvalidArgument.
        """
        address = Address.parse(url)
        if address.tls:
            options.setdefault("ssl_options", ssl.create_default_context())
        return cls(address.host, address.port, unix_path=address.path, **options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}{' (closed)' if self.closed() else ''}>"

    # --- the connection ---

    def connect(self, callback: Callback | None = None) -> Future[None]:
        """Connect, trying again until that works or `connect_timeout` is over.

        Raises ConnectionLost when the time is over. After the first success the client connects
        again by itself whenever the connection is lost. The callback gets no argument on success.
        """
        check_callback(callback)
        if not self._reconnector.active:
            self._bind()
        future = self._reconnector.connect(self._bound(), self._connect_timeout)
        if callback is not None:
            call_when_done(future, callback)
        return future

    def close(self, callback: Callback | None = None) -> Future[None]:
        """Close the connection, once what was written has been answered.

        It takes 5 s at the most. What still waits then fails with ConnectionLost; a waiting
        reserve is not waited for. May be called at any time, also twice. The callback gets no
        argument.
        """
        check_callback(callback)
        if self._loop is not None and self._loop.is_closed():
            self._reconnector.drop()  # nothing more can be said to the server, or to callers
        closing = self._reconnector.close(self._bound())
        if callback is not None:
            call_when_done(closing, callback)
        return closing

    def closed(self) -> bool:
        """Return whether there is no connection: not yet, not any more, or not at the moment."""
        connection = self._reconnector.connection
        return connection is None or connection.ended

    def set_reconnect_callback(self, callback: Callback | None) -> None:
        """Have `callback` called, without arguments, when a lost connection is back.

        By then the tubes are restored. None: no callback.
        """
        check_callback(callback)
        self._on_reconnect = callback

    @property
    def connection(self) -> Connection | None:
        """The present connection, for what is built on a client; None: there is none."""
        return self._reconnector.connection

    @property
    def reason(self) -> str:
        """The reason why the client is not connected, as long as it is not."""
        return self._reconnector.reason

    @property
    def tubes(self) -> Tubes:
        """The tubes that each connection is to use and watch, for what is built on a client."""
        return self._tubes

    @property
    def using(self) -> str:
        """The tube that was last asked for with :meth:`use`, and granted."""
        return self._tubes.using

    @property
    def watching(self) -> frozenset[str]:
        """The tubes that reserves take from."""
        return frozenset(self._tubes.watching)

    async def __aenter__(self: ClientT) -> ClientT:
        connecting = self.connect()
        try:
            await connecting
        except BaseException:
            # It may be cancelled when there is a connection already, which must be closed.
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- producing ---

    def put(
        self,
        body: bytes | bytearray | memoryview | str,
        priority: int = DEFAULT_PRIORITY,
        delay: int = 0,
        ttr: int = DEFAULT_TTR,
        callback: Callback | None = None,
        *,
        tube: str | None = None,
    ) -> Future[int]:
        """Put a job into the tube in use, or into `tube`, and return its id (section 3.1).

        :param body: a str is sent as UTF-8
        :param priority: 0 is the most urgent, 2**32 - 1 the least
        :param delay: seconds before it is ready
        :param ttr: seconds that a worker may hold it; 0 counts as 1

        Raises JobTooBig, Draining, OutOfMemory, Buried (with ``.job_id``).
        """
        payload = encode_put(priority, delay, ttr, body)
        return self._send(Request(PUT, payload, self._future(callback)), tube)

    def put_many(
        self,
        bodies: Iterable[bytes | bytearray | memoryview | str],
        priority: int = DEFAULT_PRIORITY,
        delay: int = 0,
        ttr: int = DEFAULT_TTR,
        callback: Callback | None = None,
        *,
        tube: str | None = None,
    ) -> Future[list[int]]:
        """Put a job for each body, with a bounded number under way; return the ids in order.

        Any iterable will do; bodies are taken from it as the server keeps up. At the first error
        no more are taken. Once the puts under way are answered, that error is raised with
        ``.ids``: for each body that was taken its id, or None where the job did not go in (or
        where that is not known, because the connection was lost). Errors of the iterable are
        raised in the same way, CancelledError and KeyboardInterrupt included; a StopIteration
        becomes the cause of a RuntimeError.
        """
        if tube is not None:
            USE.encode(tube)
        else:
            tube = self._tubes.asked  # what is used later is for what is put later
        many = PutMany(
            bodies,
            (priority, delay, ttr),
            self._future(callback),
            lambda chunk: self._chunk(chunk, tube),
        )
        many.start()
        return many.future

    def use(self, name: str, callback: Callback | None = None) -> Future[str]:
        """Use a tube for later puts, peeks and kicks; return its name (section 3.2)."""
        connected = self._reconnector.connection is not None
        return self._send(self._tubes.use(name, self._future(callback), connected))

    # --- consuming ---

    def reserve(self, timeout: int | None = None, callback: Callback | None = None) -> Future[Job]:
        """Reserve a job from the tubes watched, waiting for one if need be (section 4.1).

        :param timeout: seconds to wait; 0: not at all; None: for ever

        While it waits, only other reserves are sent; all else is held in the client, in order. It
        goes on after a lost connection, and loses no job when it is cancelled. Raises TimedOut,
        DeadlineSoon.
        """
        if timeout is None:
            future = self._reserve_future(callback)
            request = ReserveRequest(RESERVE, RESERVE.form, future, self)
        else:
            payload = RESERVE_WITH_TIMEOUT.encode(timeout)
            kind = ReserveRequest if timeout else ReserveNowRequest
            future = self._reserve_future(callback)
            request = kind(RESERVE_WITH_TIMEOUT, payload, future, self, timeout)
        return self._send(request)

    def reserve_job(self, job_id: int | Job, callback: Callback | None = None) -> Future[Job]:
        """Reserve the job with this id, whatever its tube and state (section 4.2).

        Raises NotFound, also when another connection or this one holds it.
        """
        payload = RESERVE_JOB.encode(job_id_of(job_id))
        future = self._reserve_future(callback)
        future.to_anyone = False
        return self._send(ReserveJobRequest(RESERVE_JOB, payload, future, self))

    async def jobs(self, timeout: int | None = None) -> AsyncIterator[Job]:
        """Yield reserved jobs: ``async for job in client.jobs(timeout=5)``.

        Ends when none came within `timeout` seconds. Goes on after a lost connection, and
        after DEADLINE_SOON; raises ConnectionLost when the client is closed.
        """
        while True:
            try:
                job = await self.reserve(timeout)
            except TimedOut:
                return
            except DeadlineSoon:
                await asyncio.sleep(DEADLINE_PAUSE)
            except ConnectionLost:
                if not self._reconnector.active:
                    raise
                await self._reconnector.connect(self._bound(), None)
            else:
                yield job

    def delete(self, job_id: int | Job, callback: Callback | None = None) -> Future[None]:
        """Delete a job that this connection, or no connection, has reserved (section 4.3).

        Raises NotFound.
        """
        return self._settle(DELETE, job_id, (), callback)

    def release(
        self,
        job_id: int | Job,
        priority: int | None = DEFAULT_PRIORITY,
        delay: int = 0,
        callback: Callback | None = None,
    ) -> Future[None]:
        """Return a reserved job to its tube (section 4.4).

        :param priority: its new priority; None: it keeps the one it has
        :param delay: seconds before it is ready again

        Raises NotFound, Buried.
        """
        if priority is None:
            return self._settle(RELEASE, job_id, (0, delay), callback, keep_priority=True)
        return self._settle(RELEASE, job_id, (priority, delay), callback)

    def bury(
        self,
        job_id: int | Job,
        priority: int | None = DEFAULT_PRIORITY,
        callback: Callback | None = None,
    ) -> Future[None]:
        """Bury a reserved job: put it aside until it is kicked (section 4.5).

        :param priority: its new priority; None: it keeps the one it has

        Raises NotFound.
        """
        if priority is None:
            return self._settle(BURY, job_id, (0,), callback, keep_priority=True)
        return self._settle(BURY, job_id, (priority,), callback)

    def touch(self, job_id: int | Job, callback: Callback | None = None) -> Future[None]:
        """Touch a reserved job: its time to run begins again (section 4.6). Raises NotFound."""
        return self._settle(TOUCH, job_id, (), callback)

    def watch(self, name: str, callback: Callback | None = None) -> Future[int]:
        """Watch a tube, to reserve its jobs too; return how many are watched (section 4.7)."""
        return self._send(self._tubes.watch(name, self._future(callback)))

    def ignore(self, name: str, callback: Callback | None = None) -> Future[int]:
        """Stop watching a tube; return the number of tubes still watched (section 4.8).

        Raises NotIgnored for the last one.
        """
        return self._send(self._tubes.ignore(name, self._future(callback)))

    # --- looking and moving ---

    def peek(self, job_id: int | Job, callback: Callback | None = None) -> Future[Job]:
        """Look at a job without reserving it (section 5.1). Raises NotFound."""
        payload = PEEK.encode(job_id_of(job_id))
        return self._send(PeekRequest(PEEK, payload, self._future(callback), self))

    def peek_ready(
        self, callback: Callback | None = None, *, tube: str | None = None
    ) -> Future[Job]:
        """Look at the next ready job of the tube in use, or of `tube`. Raises NotFound."""
        return self._peek(PEEK_READY, callback, tube)

    def peek_delayed(
        self, callback: Callback | None = None, *, tube: str | None = None
    ) -> Future[Job]:
        """Look at the delayed job that is ready first, of the tube in use or of `tube`.

        Raises NotFound.
        """
        return self._peek(PEEK_DELAYED, callback, tube)

    def peek_buried(
        self, callback: Callback | None = None, *, tube: str | None = None
    ) -> Future[Job]:
        """Look at the job that was buried first, in the tube in use or in `tube`.

        Raises NotFound.
        """
        return self._peek(PEEK_BURIED, callback, tube)

    def kick(
        self, bound: int = 1, callback: Callback | None = None, *, tube: str | None = None
    ) -> Future[int]:
        """Make up to `bound` jobs ready, and return how many (section 5.2).

        Buried jobs are kicked if the tube has any, else delayed ones. The tube is the one in use,
        unless `tube` is given.
        """
        return self._send(Request(KICK, KICK.encode(bound), self._future(callback)), tube)

    def kick_job(self, job_id: int | Job, callback: Callback | None = None) -> Future[None]:
        """Make a buried or delayed job ready (section 5.3). Raises NotFound."""
        return self._ask(KICK_JOB, (job_id_of(job_id),), callback)

    def list_tubes(self, callback: Callback | None = None) -> Future[list[str]]:
        """Return the names of all tubes (section 5.4)."""
        return self._ask(LIST_TUBES, (), callback)

    def list_tube_used(self, callback: Callback | None = None) -> Future[str]:
        """Return the tube in use, as the server has it (section 5.4)."""
        return self._ask(LIST_TUBE_USED, (), callback)

    def list_tubes_watched(self, callback: Callback | None = None) -> Future[list[str]]:
        """Return the tubes watched, as the server has them (section 5.4)."""
        return self._ask(LIST_TUBES_WATCHED, (), callback)

    def pause_tube(self, name: str, delay: int, callback: Callback | None = None) -> Future[None]:
        """Pause a tube: reserve none of its jobs for `delay` seconds; 0 ends that (section 5.5).

        Raises NotFound.
        """
        return self._ask(PAUSE_TUBE, (name, delay), callback)

    # --- statistics ---

    def stats_job(self, job_id: int | Job, callback: Callback | None = None) -> Future[StatsJob]:
        """Return the statistics of a job (section 6.2). Raises NotFound."""
        return self._ask(STATS_JOB, (job_id_of(job_id),), callback)

    def stats_tube(self, name: str, callback: Callback | None = None) -> Future[StatsTube]:
        """Return the statistics of a tube (section 6.3). Raises NotFound."""
        return self._ask(STATS_TUBE, (name,), callback)

    def stats(self, callback: Callback | None = None) -> Future[Stats]:
        """Return the statistics of the server (section 6.4)."""
        return self._ask(STATS, (), callback)

    # --- how they are sent ---

    def together(self) -> AbstractContextManager[None]:
        """Have the commands issued in ``with client.together():`` leave in one write.

        All that one turn of the loop issues does so anyway, but for the first command after a
        pause: that one leaves at once. Await the results after the block, not in it. Of blocks
        within one another the outermost counts.
        """
        if self._loop is not None:
            self._bound()
        return self._reconnector.connection or nullcontext()

    def _bind(self) -> asyncio.AbstractEventLoop:
        # Not in the constructor: a client may be made before the loop that is to run it.
        with warnings.catch_warnings():
            # Where none runs yet, one is made; some versions of Python warn of that.
            warnings.simplefilter("ignore", DeprecationWarning)
            io_loop: Any = self._io_loop or IOLoop.current()
        loop: asyncio.AbstractEventLoop = io_loop.asyncio_loop
        self._loop = loop
        self._runner = loop if hasattr(loop, "_thread_id") else UnknownLoop
        return loop

    def _bound(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the client; raise RuntimeError in a wrong thread or another loop."""
        loop, running = self._loop, asyncio._get_running_loop()
        foreign = running is not None and running is not loop
        if loop is None or (foreign and not self._reconnector.active):
            return self._bind()
        if running is not loop and loop.is_running():
            raise RuntimeError(
                f"{self!r} was called from another thread than that of its event loop, and "
                "nothing was sent: use loop.call_soon_threadsafe() or "
                "asyncio.run_coroutine_threadsafe(), or a client of this thread's own"
            )
        if loop.is_closed() and self._reconnector.active:
            raise RuntimeError(
                f"the event loop of {self!r} has ended, and the client was not closed before: "
                "close() and connect() it on this loop"
            )
        if foreign:
            raise RuntimeError(
                f"{self!r} belongs to another event loop: close() it there before it is used on "
                "this one, or make a client for each"
            )
        return loop

    def _future(self, callback: Callback | None = None) -> Future[Any]:
        """Return the Future of a verb. Each verb makes it before it changes or sends anything.

        Raises InvalidArgument for a callback that cannot be called, and what `_bound` raises.
        """
        if self._runner._thread_id != get_ident():
            self._bound()
        future: Future[Any] = Future(loop=self._loop)
        if callback is not None:
            call_with_result(future, callback)
        return future

    def _reserve_future(self, callback: Callback | None) -> ReserveFuture:
        if self._runner._thread_id != get_ident():
            self._bound()
        future = ReserveFuture(loop=self._loop)
        future.holder = self._reconnector.connection or NO_CONNECTION
        if callback is not None:
            call_with_result(future, callback)
        return future

    def _send(self, request: Request, tube: str | None = None) -> Future[Any]:
        connection = self._reconnector.connection
        if tube is not None:
            USE.encode(tube)  # refused before anything is sent
        if connection is None:
            request.failed(self._not_connected(request.command))
        elif tube is None or tube == self._tubes.asked:
            connection.send(request)
        else:
            connection.send_in_tube(request, tube, self._tubes.asked)
        future: Future[Any] = request.result  # type: ignore[assignment]  # each is made here
        return future

    def _chunk(self, chunk: PutChunk, tube: str) -> None:
        connection = self._reconnector.connection
        if connection is None:
            raise self._not_connected(PUT)
        connection.send_chunk(chunk, tube, self._tubes.asked)

    def _ask(
        self, command: Command, values: tuple[object, ...], callback: Callback | None
    ) -> Future[Any]:
        return self._send(Request(command, command.encode(*values), self._future(callback)))

    def _peek(self, command: Command, callback: Callback | None, tube: str | None) -> Future[Job]:
        looked_into = self._tubes.asked if tube is None else tube
        future = self._future(callback)
        return self._send(PeekRequest(command, command.encode(), future, self, looked_into), tube)

    def _settle(
        self,
        command: Command,
        job: int | Job,
        values: tuple[int, ...],
        callback: Callback | None,
        keep_priority: bool = False,
    ) -> Future[None]:
        connection = self._reconnector.connection
        if isinstance(job, Job):
            job_id = job["id"]
            gone = job.origin is not None and job.origin is not connection
        else:
            job_id, gone = job, False
        payload = command.encode(job_id, *values) if values else command.encode(job_id)
        future = self._future(callback)
        jobs = set() if connection is None else connection.jobs
        request: Request = SettleRequest(command, payload, future, job_id, jobs, command is TOUCH)
        if gone:
            request.failed(reservation_lost(command, job_id))
            return future
        if keep_priority and connection is not None:
            connection.send(PriorityLookup(job_id, request, *values[1:]))
            return future
        return self._send(request)

    def _not_connected(self, command: Command) -> ConnectionLost:
        self._reconnector.revive()
        return ConnectionLost(
            f"{command.verb}: no connection to {self.address}: {self._reconnector.reason}",
            command=command.verb,
        )

    # --- what the reconnector calls ---

    async def _replay(self, connection: Connection) -> None:
        """Make a fresh connection use and watch what the client was granted."""
        replay = [
            (command, command.encode(name), self._future())
            for command, name in self._tubes.replay()
        ]
        if replay:
            connection.send_unit([Request(*each) for each in replay])
            await asyncio.gather(*(future for _, _, future in replay))

    async def _held_for(self, connection: Connection, jobs: set[int]) -> float:
        """Return the seconds until none of these jobs is held any more, as the server says."""
        left = 0
        for job_id in list(jobs):
            future = self._future()
            connection.send(Request(STATS_JOB, STATS_JOB.encode(job_id), future))
            try:
                stats: StatsJob = await future
            except NotFound:
                jobs.discard(job_id)
                continue
            if stats["state"] == "reserved":
                left = max(left, stats["time-left"] + 1)
            else:
                jobs.discard(job_id)
        return left

    def _reconnected(self) -> None:
        if self._on_reconnect is not None:
            call(self._bound(), self._on_reconnect)
