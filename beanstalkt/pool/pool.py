"""The pool: several servers behind the verbs of one client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any, TypeVar

from ..client.callbacks import Callback, call_with_result, check_callback
from ..client.client import Client
from ..client.puts import CHUNK
from ..client.requests import ReserveJobRequest
from ..client.reserve_future import ReserveFuture
from ..errors import (
    BeanstalkException,
    ConnectionLost,
    NotFound,
    NotIgnored,
    TimedOut,
)
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR, Job
from ..protocol.arguments import BOUND, TIMEOUT
from ..protocol.commands import (
    IGNORE,
    PAUSE_TUBE,
    RESERVE_JOB,
    STATS_TUBE,
    USE,
    WATCH,
    encode_put,
)
from ..protocol.servers import parse_job_id
from ..protocol.stats import Stats, StatsJob, StatsTube
from .chunks import SplitPuts
from .connections import PoolConnections
from .job import PoolJob
from .member import Member
from .membership import unreachable
from .put_many import PoolPutMany
from .puts import PoolPut
from .reserving import Reserving
from .routing import check_key
from .totals import total

Future = asyncio.Future
Body = bytes | bytearray | memoryview | str
Key = str | bytes
T = TypeVar("T")

LEAST = 32
"""Bodies of a chunk at the least, if there are so many: smaller ones cost too much."""


class Pool(PoolConnections):
    """Talk to several beanstalkds by the verbs of one client.

    ::

        async with Pool({"a": "beanstalk://10.0.0.1", "b": "beanstalk://10.0.0.2"}) as pool:
            await pool.put(b"work", tube="mail")  # "a/1"
            await pool.watch("mail")
            job = await pool.reserve()  # from whichever server has one
            await job.delete()

    The servers know nothing of each other: a job is on one of them. The id of a job is the name of
    its server and its number there, ``"a/17"``. A put that one server cannot have taken goes to
    the next. A server that is lost is left out, and is used again when it is back.

    :param servers: URLs by name; or a list of URLs; or text like
        ``"a=beanstalk://10.0.0.1 b=beanstalk://10.0.0.2?weight=3"``
    :param strategy: where jobs without a key go: ``"round-robin"``, or ``"least-outstanding"``, to
        the server with the fewest unanswered puts; both by weight
    :param may_double: put again what one server may have taken before its connection was lost
    :param connect_timeout: seconds that :meth:`connect` waits for any server; 0: it tries each one
        once; None: for ever
    :param ssl_options: for the servers whose URL says TLS; None: the system's authorities
    :param watching: the tubes that reserves take from, to begin with
    :param reconnect_delay: seconds between two attempts to connect to a server
    :param max_reconnect_delay: seconds up to which that delay grows, doubling; None: it does not
    :param response_timeout: seconds that a server may take for a reply, as of
        :class:`~beanstalkt.Client`
    :param timing: every other interval, for those who test their programs

    Like a client, a pool belongs to one event loop and its thread, and every verb returns a Future
    at once and takes a callback. Raises InvalidArgument.
    """

    @property
    def using(self) -> str:
        """The tube that puts, peeks and kicks go to."""
        return self._using

    @property
    def watching(self) -> frozenset[str]:
        """The tubes that reserves take from."""
        return frozenset(self._watching)

    # --- producing ---

    def put(
        self,
        body: Body,
        priority: int = DEFAULT_PRIORITY,
        delay: int = 0,
        ttr: int = DEFAULT_TTR,
        callback: Callback | None = None,
        *,
        tube: str | None = None,
        key: Key | None = None,
        strict: bool = True,
        may_double: bool | None = None,
    ) -> Future[str]:
        """Put a job on one of the servers, and return its id, such as ``"a/17"``.

        :param key: jobs with the same key go to the same server, as long as there are the same
            servers; one more or one less moves as few keys as possible
        :param strict: whether a job with a key is refused when its server cannot take it; False:
            it goes to the next one
        :param may_double: put it on another server also if the first one may have taken it; None:
            as the pool says

        A server that cannot be reached, drains or is full is left out for the next one. Raises
        what :meth:`Client.put` does, with the name of the server as ``.server``; where it says
        ``.sent``, that server may have the job.
        """
        payload = encode_put(priority, delay, ttr, body)
        if tube is not None:
            USE.encode(tube)
        place = None if key is None else check_key(key)
        future = self._future(callback)
        doubles = self._may_double if may_double is None else may_double
        membership = self._membership
        member, others = membership.in_turn() if place is None else None, None
        if member is None:
            others = membership.to_put_on(place, strict)
            member = next(others, None)
        if member is None:
            future.set_exception(membership.no_server(place, strict))
        else:
            PoolPut(payload, future, tube, membership, others, doubles).put_on(member)
        return future

    def put_many(
        self,
        bodies: Iterable[Body],
        priority: int = DEFAULT_PRIORITY,
        delay: int = 0,
        ttr: int = DEFAULT_TTR,
        callback: Callback | None = None,
        *,
        tube: str | None = None,
        key: Key | Callable[[bytes], Key] | None = None,
        strict: bool = True,
        may_double: bool | None = None,
    ) -> Future[list[str]]:
        """Put a job for each body, split over the servers; return the ids in order.

        :param key: of all jobs; or a function that returns the key of a body

        The other arguments are those of :meth:`put`; bodies are taken, and errors raised with
        ``.ids``, as :meth:`Client.put_many` does. What a server did not take goes to another one.
        """
        if tube is not None:
            USE.encode(tube)
        membership = self._membership
        many = PoolPutMany(
            lambda ended: SplitPuts(
                bodies,
                (priority, delay, ttr),
                membership,
                key=key,
                size=max(LEAST, CHUNK // len(membership.members)),
                strict=strict,
                may_double=self._may_double if may_double is None else may_double,
                ended=ended,
            ),
            self._future(callback),
            self._using if tube is None else tube,
        )
        many.start()
        return many.future

    def use(self, name: str, callback: Callback | None = None) -> Future[str]:
        """Use a tube of all servers for later puts, peeks and kicks; return its name."""
        USE.encode(name)
        self._using = name
        return self._everywhere("use", lambda client: client.use(name), name, callback)

    def _everywhere(
        self,
        verb: str,
        command: Callable[[Client], Future[Any]],
        result: T,
        callback: Callback | None,
    ) -> Future[T]:
        """Carry out a command about tubes on every server; those that are away do so later.

        The Future has `result`, or the error by which a server has refused.
        """
        future = self._future(callback)
        members = self._membership.members
        left = 0

        def answered(done: Future[Any], client: Client) -> None:
            nonlocal left
            left -= 1
            error = done.exception()
            if isinstance(error, ConnectionLost):
                self._set_tubes(client)
            elif error is not None and not future.done():
                future.set_exception(error)
            if not left and not future.done():
                future.set_result(result)

        for member in members:
            client = member.client
            if client.connection is None:
                self._set_tubes(client)
            else:
                left += 1
                command(client).add_done_callback(partial(answered, client=client))
        if not left:
            future.set_exception(unreachable(verb, *members))
        return future

    # --- consuming ---

    def reserve(
        self, timeout: int | None = None, callback: Callback | None = None
    ) -> Future[PoolJob]:
        """Reserve a job of the tubes watched from any server, waiting for one if need be.

        :param timeout: seconds to wait; 0: not at all; None: for ever

        Each server is asked in turn, a different one first each time. When none has a job, it
        waits for the first that any of them has. Puts and settling are never held up by that.
        Cancelled, it loses no job. It survives lost servers, all of them too. Raises TimedOut;
        never DeadlineSoon.
        """
        if timeout is not None:
            TIMEOUT.check(timeout)
        future = self._reserve_future(callback)
        reserving = self._reserving
        if reserving is None:
            future.set_exception(unreachable("reserve", *self._membership.members))
        else:
            reserving.reserve(future, timeout)
        return future  # type: ignore[return-value]  # its jobs are the pool's

    def reserve_job(
        self, job_id: str | PoolJob, callback: Callback | None = None
    ) -> Future[PoolJob]:
        """Reserve the job with this id, in any tube and state, as :meth:`Client.reserve_job`."""
        member, number = self._find(job_id)
        payload = RESERVE_JOB.encode(number)
        future = self._reserve_future(callback)
        future.to_anyone = False
        reserving = self._reserving
        if reserving is None or member.client.connection is None:
            future.set_exception(unreachable("reserve-job", member))
            return future  # type: ignore[return-value]
        future.holder = member.client.connection
        request = TakeJob(payload, future, member, reserving)
        member.client.connection.send(request)
        return future  # type: ignore[return-value]

    async def jobs(self, timeout: int | None = None) -> AsyncIterator[PoolJob]:
        """Yield reserved jobs: ``async for job in pool.jobs(timeout=5)``.

        Ends when none came within `timeout` seconds. Goes on after all servers were lost; raises
        ConnectionLost when the pool is closed.
        """
        while True:
            try:
                job = await self.reserve(timeout)
            except TimedOut:
                return
            except ConnectionLost:
                if self._reserving is None:
                    raise
                await self._wait_for_any()
            else:
                yield job

    def _wait_for_any(self) -> Future[None]:
        """Return a Future that is done when any server can be used, however long that takes."""
        future: Future[None] = self._running().create_future()
        if self._membership.usable:
            future.set_result(None)
        else:
            self._waiters[future] = None
            future.add_done_callback(self._waited)
        return future

    def delete(self, job_id: str | Job, callback: Callback | None = None) -> Future[None]:
        """Delete a job that this pool, or no connection, has reserved. Raises NotFound."""
        # All in place for a job that was reserved, because most jobs end so.
        if isinstance(job_id, PoolJob) and job_id.holder is not None:
            client = job_id.client
            if client.connection is job_id.holder:
                deleted: Future[None] = client.delete(job_id.number, callback)
                return deleted if job_id.lease is None else self._settled(deleted, job_id)
        client, job = self._held(job_id)
        return self._settled(client.delete(job, callback), job_id)

    def release(
        self,
        job_id: str | Job,
        priority: int | None = DEFAULT_PRIORITY,
        delay: int = 0,
        callback: Callback | None = None,
    ) -> Future[None]:
        """Return a reserved job to its tube on its server, as :meth:`Client.release` does."""
        client, job = self._held(job_id)
        return self._settled(client.release(job, priority, delay, callback), job_id)

    def bury(
        self,
        job_id: str | Job,
        priority: int | None = DEFAULT_PRIORITY,
        callback: Callback | None = None,
    ) -> Future[None]:
        """Bury a reserved job: put it aside until it is kicked, as :meth:`Client.bury` does."""
        client, job = self._held(job_id)
        return self._settled(client.bury(job, priority, callback), job_id)

    def touch(self, job_id: str | Job, callback: Callback | None = None) -> Future[None]:
        """Touch a reserved job: its time to run begins again. Raises NotFound."""
        client, job = self._held(job_id)
        return client.touch(job, callback)

    def _held(self, job_id: str | Job) -> tuple[Client, int | Job]:
        """Return the client that holds a job, and what the client knows it by."""
        if isinstance(job_id, PoolJob) and job_id.holder is not None:
            client: Client = job_id.client
            return client, job_id.inner
        member, number = self._find(job_id)
        reserving = self._reserving
        if reserving is None:
            return member.client, number
        return reserving.client_of(member, number), number

    @staticmethod
    def _settled(future: Future[None], job: object) -> Future[None]:
        """Have the connection that held the job wait for others when this is answered."""
        lease = job.lease if isinstance(job, PoolJob) else None
        if lease is not None:
            future.add_done_callback(lambda _: lease.end_lease())
        return future

    def watch(self, name: str, callback: Callback | None = None) -> Future[int]:
        """Watch a tube on all servers, to reserve its jobs too; return the number watched."""
        WATCH.encode(name)
        self._watching[name] = True
        return self._watch_changed("watch", lambda client: client.watch(name), callback)

    def ignore(self, name: str, callback: Callback | None = None) -> Future[int]:
        """Stop watching a tube; return the number of tubes still watched.

        Raises NotIgnored for the last one.
        """
        IGNORE.encode(name)
        if self._watching.keys() == {name}:
            future = self._future(callback)
            message = f"ignore: {name} is the only tube that the pool watches"
            future.set_exception(NotIgnored(message, command="ignore", status="NOT_IGNORED"))
            return future
        self._watching.pop(name, None)
        return self._watch_changed("ignore", lambda client: client.ignore(name), callback)

    def _watch_changed(
        self, verb: str, command: Callable[[Client], Future[Any]], callback: Callback | None
    ) -> Future[int]:
        if self._reserving is not None:
            self._reserving.tubes_changed()
        return self._everywhere(verb, command, len(self._watching), callback)

    # --- looking and moving ---

    def peek(self, job_id: str | Job, callback: Callback | None = None) -> Future[PoolJob]:
        """Look at a job without reserving it. Raises NotFound."""
        member, number = self._find(job_id)
        return self._run(self._peek(member, lambda client: client.peek(number)), callback)

    async def _peek(self, member: Member, look: Callable[[Client], Future[Job]]) -> PoolJob:
        found = await look(member.client)
        return PoolJob(f"{member.server.name}/{found.id}", found.body, self)

    def peek_ready(
        self, callback: Callback | None = None, *, tube: str | None = None
    ) -> Future[PoolJob]:
        """Look at the next ready job of the first server that has one. Raises NotFound."""
        return self._peek_any("peek_ready", tube, callback)

    def peek_delayed(
        self, callback: Callback | None = None, *, tube: str | None = None
    ) -> Future[PoolJob]:
        """Look at the next delayed job of the first server that has one. Raises NotFound."""
        return self._peek_any("peek_delayed", tube, callback)

    def peek_buried(
        self, callback: Callback | None = None, *, tube: str | None = None
    ) -> Future[PoolJob]:
        """Look at the oldest buried job of the first server that has one. Raises NotFound."""
        return self._peek_any("peek_buried", tube, callback)

    def _peek_any(self, verb: str, tube: str | None, callback: Callback | None) -> Future[PoolJob]:
        if tube is not None:
            USE.encode(tube)

        async def look() -> PoolJob:
            missing: BeanstalkException | None = None
            for member in self._reachable(verb.replace("_", "-")):
                try:
                    return await self._peek(
                        member, lambda client: getattr(client, verb)(tube=tube)
                    )
                except (NotFound, ConnectionLost) as error:
                    missing = worse_of(missing, error)
            raise missing or NotFound(verb)

        return self._run(look(), callback)

    def kick(
        self, bound: int = 1, callback: Callback | None = None, *, tube: str | None = None
    ) -> Future[int]:
        """Make up to `bound` jobs ready, all servers together, and return how many.

        Buried ones if any server has one, else delayed ones; of the tube in use, or of `tube`.
        """
        BOUND.check(bound)
        if tube is not None:
            USE.encode(tube)
        return self._run(self._kick(bound, self._using if tube is None else tube), callback)

    async def _kick(self, bound: int, tube: str) -> int:
        found = await self._ask_all("kick", lambda client: client.stats_tube(tube), missing=None)
        buried = [member for member, stats in found if stats and stats["current-jobs-buried"]]
        kicked = 0
        for member in buried or [member for member, stats in found if stats]:
            if kicked < bound:
                kicked += await member.client.kick(bound - kicked, tube=tube)
        return kicked

    def kick_job(self, job_id: str | Job, callback: Callback | None = None) -> Future[None]:
        """Make a buried or delayed job ready. Raises NotFound."""
        member, number = self._find(job_id)
        return member.client.kick_job(number, callback)

    def list_tubes(self, callback: Callback | None = None) -> Future[list[str]]:
        """Return the names of the tubes that any server has."""

        async def ask() -> list[str]:
            found = await self._ask_all("list-tubes", lambda client: client.list_tubes())
            return list(dict.fromkeys(name for _, names in found for name in names))

        return self._run(ask(), callback)

    def list_tube_used(self, callback: Callback | None = None) -> Future[str]:
        """Return the tube in use."""
        future = self._future(callback)
        future.set_result(self._using)
        return future

    def list_tubes_watched(self, callback: Callback | None = None) -> Future[list[str]]:
        """Return the tubes watched."""
        future = self._future(callback)
        future.set_result(list(self._watching))
        return future

    def pause_tube(self, name: str, delay: int, callback: Callback | None = None) -> Future[None]:
        """Pause a tube: reserve none of its jobs for `delay` seconds, on any server; 0 ends that.

        Raises NotFound if no server has the tube.
        """
        PAUSE_TUBE.encode(name, delay)

        async def pause() -> None:
            await self._ask_all("pause-tube", lambda client: client.pause_tube(name, delay))

        return self._run(pause(), callback)

    # --- statistics ---

    def stats_job(self, job_id: str | Job, callback: Callback | None = None) -> Future[StatsJob]:
        """Return the statistics of a job, as its server has them. Raises NotFound."""
        member, number = self._find(job_id)
        return member.client.stats_job(number, callback)

    def stats_tube(self, name: str, callback: Callback | None = None) -> Future[StatsTube]:
        """Return the statistics of a tube, summed over the servers.

        Raises NotFound if no server has it.
        """
        STATS_TUBE.encode(name)
        return self._total("stats-tube", lambda client: client.stats_tube(name), callback)

    def stats(self, callback: Callback | None = None) -> Future[Stats]:
        """Return the statistics of all servers, summed where sums mean something.

        Servers that are away are left out; ``clients`` has the client of each.
        """
        return self._total("stats", lambda client: client.stats(), callback)

    def _total(
        self, verb: str, ask: Callable[[Client], Future[Any]], callback: Callback | None
    ) -> Future[Any]:
        async def ask_all() -> Any:
            return total([stats for _, stats in await self._ask_all(verb, ask)])

        return self._run(ask_all(), callback)

    async def _ask_all(
        self, verb: str, ask: Callable[[Client], Future[Any]], **missing: None
    ) -> list[tuple[Member, Any]]:
        """Return the answers of the servers that can be reached, all asked at once.

        :param missing: given, a server that says NOT_FOUND has None for an answer; otherwise it is
            left out, and its error is raised if none has an answer
        """
        members = self._reachable(verb)
        answers = await asyncio.gather(
            *(ask(member.client) for member in members), return_exceptions=True
        )
        found: list[tuple[Member, Any]] = []
        error: BeanstalkException | None = None
        for member, answer in zip(members, answers, strict=True):
            if isinstance(answer, NotFound) and missing:
                found.append((member, None))
            elif isinstance(answer, (NotFound, ConnectionLost)):
                error = worse_of(error, answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.append((member, answer))
        if not found and error is not None:
            raise error
        return found

    # --- how they are sent ---

    def together(self) -> AbstractContextManager[object]:
        """Have the commands issued in the block leave in one write for each server.

        See :meth:`Client.together`.
        """
        stack = ExitStack()
        for member in self._membership.members:
            stack.enter_context(member.client.together())
        return stack

    def _find(self, job_id: str | Job) -> tuple[Member, int]:
        """Return the server that has a job, and its number there. Raises InvalidArgument."""
        given: Any = job_id.id if isinstance(job_id, Job) else job_id
        name, number = parse_job_id(given)
        return self._membership.named(name), number

    def _reachable(self, verb: str) -> list[Member]:
        """Return the servers that can be used. Raises ConnectionLost if there is none."""
        usable = self._membership.usable
        if not usable:
            raise unreachable(verb, *self._membership.members)
        return [member for member in usable if member.prompt] or usable

    def _run(self, coroutine: Coroutine[Any, Any, T], callback: Callback | None) -> Future[T]:
        """Run a command that takes several, and return its Future."""
        try:
            check_callback(callback)
            task = self._running().create_task(coroutine)
        except BaseException:
            coroutine.close()
            raise
        if callback is not None:
            call_with_result(task, callback)
        return task


class TakeJob(ReserveJobRequest):
    """A reserve of one job of one server by its number."""

    __slots__ = ("_member", "_reserving")

    def __init__(
        self, payload: bytes, future: ReserveFuture, member: Member, reserving: Reserving
    ) -> None:
        super().__init__(RESERVE_JOB, payload, future, member.client)
        self._member = member
        self._reserving = reserving

    def done(self, value: Any) -> None:
        """Settle it with the pool's job."""
        number, body = value
        holder = self.holder
        job = self._reserving.job_of(self._member, self._member.client, number, body, holder)
        if self.result.done():
            holder.give_back(job.inner, False)
        else:
            holder.jobs.add(number)
            self.result.set_result(job)


def worse_of(before: BeanstalkException | None, error: BeanstalkException) -> BeanstalkException:
    """Return which error to raise: one of a server that was lost counts more than NOT_FOUND."""
    return error if before is None or isinstance(error, ConnectionLost) else before
