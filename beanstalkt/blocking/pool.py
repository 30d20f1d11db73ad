"""The blocking pool: several servers behind the verbs of one blocking client."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import randrange
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar

from ..client.puts import CHUNK
from ..client.timing import Timing, check_connect_timeout
from ..errors import (
    BeanstalkException,
    ConnectionLost,
    DeadlineSoon,
    NotFound,
    NotIgnored,
    TimedOut,
)
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR
from ..job import Job as AnyJob
from ..pool.chunks import SplitPuts
from ..pool.failover import may_go_on, worse
from ..pool.job import PoolJob as AnyPoolJob
from ..pool.membership import Membership, note, unreachable
from ..pool.routing import ROUND_ROBIN, check_key
from ..pool.totals import total
from ..protocol.arguments import BOUND, DEFAULT_TUBE, TIMEOUT
from ..protocol.commands import IGNORE, PAUSE_TUBE, STATS_TUBE, USE, WATCH, encode_put
from ..protocol.servers import Server, parse_job_id, servers_of
from ..protocol.stats import Stats, StatsJob, StatsTube
from .client import Body, Client
from .job import Job
from .member import Member
from .waiting import Waits

Key = str | bytes
T = TypeVar("T")
PoolT = TypeVar("PoolT", bound="Pool")


class PoolJob(Job, AnyPoolJob):
    """A job of a blocking pool: ``job.id`` is a str such as ``"a/17"``; its methods block."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type[AnyJob], tuple[Any, bytes]]:
        # A connection cannot be pickled; the id and the body can.
        return PoolJob, (self.id, self.body)


class Pool:
    """Several beanstalkds behind the verbs of a blocking client.

    ::

        with Pool({"a": "beanstalk://10.0.0.1", "b": "beanstalk://10.0.0.2"}) as pool:
            pool.put("work", key="customer-7")  # "b/1"
            job = pool.reserve()
            job.delete()

    It does what :class:`beanstalkt.Pool` does, without an event loop. A server that is lost is
    left out for a while that doubles, up to 30 s, and then tried again by the next call. A server
    that accepts a command and is silent keeps that one call waiting for `response_timeout`.
    Threads may share a pool; each reserve that waits has connections of its own.

    The parameters are those of :class:`beanstalkt.Pool`. Raises InvalidArgument.
    """

    def __init__(
        self,
        servers: str | Mapping[str, str] | Iterable[str | Server],
        *,
        strategy: str = ROUND_ROBIN,
        may_double: bool = False,
        connect_timeout: float | None = None,
        ssl_options: ssl.SSLContext | None = None,
        reconnect_delay: float = 1.0,
        response_timeout: float = 60.0,
        timing: Timing | None = None,
    ) -> None:
        self._may_double = may_double
        self._connect_timeout = check_connect_timeout(connect_timeout)
        self._ssl_options = ssl_options
        self._delay = reconnect_delay
        self._options = {
            "reconnect_delay": reconnect_delay,
            "response_timeout": response_timeout,
            "timing": timing,
        }
        self._using = DEFAULT_TUBE
        self._watching = {DEFAULT_TUBE: True}
        self._membership = Membership(servers_of(servers), strategy, self._make_member)
        self._turn = randrange(len(self._membership.members))
        self._closing = threading.Event()
        self._lock = threading.Lock()  # of the two below
        self._waits: set[Waits] = set()  # of threads that wait
        self._scouts: dict[Client, Member] = {}  # that wait, have waited, or hold a job
        self._busy: set[Client] = set()  # those of them that wait

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {' '.join(str(server) for server in self.servers)}>"

    def _make_member(self, server: Server) -> Member:
        return Member(server, self._client_of, self._delay)

    def _client_of(self, server: Server) -> Client:
        options: dict[str, Any] = dict(self._options)
        if server.address.tls:
            options["ssl_options"] = self._ssl_options or ssl.create_default_context()
        # One attempt: there are other servers.
        client = Client.from_url(server.url, connect_timeout=0, **options)
        self._set_tubes(client)
        return client

    def _set_tubes(self, client: Client) -> None:
        tubes = client.tubes
        tubes.using = tubes.asked = self._using
        tubes.watching = dict(self._watching)

    # --- the servers ---

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers, in the order in which they were given."""
        return tuple(member.server for member in self._membership.members)

    @property
    def clients(self) -> Mapping[str, Client]:
        """The client of each server by its name, for what concerns one server only."""
        members = self._membership.members
        return MappingProxyType({member.server.name: member.client for member in members})

    def server_of(self, key: Key) -> str:
        """Return the name of the server where jobs with this key belong."""
        return self._membership.home_of(check_key(key)).server.name

    def connect(self) -> None:
        """Connect to all servers that can be reached, trying again until there is one.

        Raises ConnectionLost when `connect_timeout` is over.
        """
        self._closing.clear()
        timeout = self._connect_timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            if [member for member in self._membership.members if self._reach(member)]:
                return
            if self._closing.is_set() or (deadline is not None and time.monotonic() >= deadline):
                raise unreachable("connect", *self._membership.members)
            left = self._delay if deadline is None else deadline - time.monotonic()
            self._closing.wait(max(0.0, min(self._delay, left)))

    def _reach(self, member: Member) -> bool:
        try:
            member.client.connect()
        except ConnectionLost as error:
            member.lost(error)
            return False
        member.answered()
        return True

    def close(self) -> None:
        """End all connections; reserves of other threads fail. May be called twice."""
        self._closing.set()
        with self._lock:
            waits = list(self._waits)
            # Threads that wait close what they wait on themselves.
            theirs = {client for wait in waits for client in wait.clients}
            scouts = [client for client in self._scouts if client not in theirs]
            self._scouts.clear()
            self._busy.clear()
        for wait in waits:
            wait.interrupt()
        for client in scouts:
            client.close()
        for member in self._membership.members:
            member.client.close()

    def closed(self) -> bool:
        """Return whether there is no connection to any server."""
        return all(member.client.closed() for member in self._membership.members)

    @property
    def using(self) -> str:
        """The tube that puts, peeks and kicks go to."""
        return self._using

    @property
    def watching(self) -> frozenset[str]:
        """The tubes that reserves take from."""
        return frozenset(self._watching)

    def __enter__(self: PoolT) -> PoolT:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
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
        key: Key | None = None,
        strict: bool = True,
        may_double: bool | None = None,
    ) -> str:
        """Put a job on one of the servers, and return its id, as :meth:`beanstalkt.Pool.put`."""
        encode_put(priority, delay, ttr, body)  # refused before any server is asked
        if tube is not None:
            USE.encode(tube)
        place = None if key is None else check_key(key)
        doubles = self._may_double if may_double is None else may_double
        failed: BeanstalkException | None = None
        self._revive()
        for member in self._membership.to_put_on(place, strict):
            member.outstanding += 1
            try:
                job_id = member.client.put(body, priority, delay, ttr, tube=tube)
            except BeanstalkException as error:
                note(error, member)
                self._note_loss(error, member)
                if not may_go_on(error, doubles):
                    raise
                failed = worse(error, failed)
            else:
                member.answered()
                return f"{member.server.name}/{job_id}"
            finally:
                member.outstanding -= 1
        raise failed or self._membership.no_server(place, strict)

    def put_many(
        self,
        bodies: Iterable[Body],
        priority: int = DEFAULT_PRIORITY,
        delay: int = 0,
        ttr: int = DEFAULT_TTR,
        *,
        tube: str | None = None,
        key: Key | Callable[[bytes], Key] | None = None,
        strict: bool = True,
        may_double: bool | None = None,
    ) -> list[str]:
        """Put a job for each body, split over the servers; return the ids in order.

        One server is busy at a time. See :meth:`beanstalkt.Pool.put_many`.
        """
        if tube is not None:
            USE.encode(tube)
        split: SplitPuts[Member] = SplitPuts(
            bodies,
            (priority, delay, ttr),
            self._membership,
            key=key,
            size=CHUNK,
            strict=strict,
            may_double=self._may_double if may_double is None else may_double,
            ended=lambda: None,
        )
        self._revive()
        while (chunk := split.next()) is not None:
            chunk.member.client.put_chunk(chunk, tube)
            for error in dict.fromkeys(chunk.failures.values()):
                self._note_loss(error, chunk.member)
        ids, failure = split.outcome()
        if failure is not None:
            raise failure
        return ids

    def _revive(self) -> None:
        """Try all servers again if none is worth a try: there is nothing else to do."""
        if self._closing.is_set():
            raise ConnectionLost("the pool was closed")
        members = self._membership.members
        if not any(member.usable for member in members):
            for member in members:
                member.try_now()

    def _note_loss(self, error: BaseException, member: Member) -> None:
        if isinstance(error, ConnectionLost):
            member.lost(error)

    def use(self, name: str) -> str:
        """Use a tube of all servers for later puts, peeks and kicks; return its name."""
        USE.encode(name)
        self._using = name
        self._everywhere(lambda client: client.use(name))
        return name

    def _everywhere(self, command: Callable[[Client], object]) -> None:
        """Carry out a command about tubes on each server; those that are away do so later."""
        for member in self._membership.members:
            client = member.client
            if client.closed():
                self._set_tubes(client)
                continue
            try:
                command(client)
            except ConnectionLost:
                self._set_tubes(client)

    # --- consuming ---

    def reserve(self, timeout: int | None = None) -> PoolJob:
        """Reserve a job of the tubes watched from any server, waiting for one if need be.

        :param timeout: seconds to wait; 0: not at all; None: for ever

        Each server is asked in turn; when none has a job, it waits at all of them, each on a
        connection of its own. Raises TimedOut, and ConnectionLost when no server can be reached.
        """
        if timeout is not None:
            TIMEOUT.check(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        self._revive()
        job = self._ask_each()
        if job is not None:
            return job
        if not any(member.usable for member in self._membership.members):
            raise unreachable("reserve", *self._membership.members)
        if timeout != 0:
            job = self._wait(deadline)
        if job is None:
            raise TimedOut(
                "reserve-with-timeout: no server of the pool had a job in time",
                command="reserve-with-timeout",
                status="TIMED_OUT",
            )
        return job

    def _ask_each(self) -> PoolJob | None:
        """Ask each server for a job without waiting, a different one first each time."""
        members = self._membership.members
        self._turn = turn = (self._turn + 1) % len(members)
        for member in members[turn:] + members[:turn]:
            if not member.usable:
                continue
            try:
                job = member.client.reserve(0)
            except (TimedOut, DeadlineSoon):
                member.answered()
            except ConnectionLost as error:
                member.lost(error)
            else:
                member.answered()
                return self._job_of(member, job)
        return None

    def _wait(self, deadline: float | None) -> PoolJob | None:
        waits = Waits(self._membership.members, self._scout_of, self._closing.is_set)
        with self._lock:
            self._waits.add(waits)
        found = None
        try:
            found = waits.first(deadline)
            if found is None:
                return None
            wait, inner = found
            return self._job_of(wait.member, inner)
        except BaseException:
            if found is not None:
                found[0].client.close()  # nobody gets its job
            raise
        finally:
            with self._lock:
                self._waits.discard(waits)
                self._busy.difference_update(waits.clients)

    def _scout_of(self, member: Member) -> Client:
        """Return an idle client of this server, on which a reserve can wait."""
        with self._lock:
            for client, owner in list(self._scouts.items()):
                connection = client.connection
                if client in self._busy:
                    continue
                if connection is None or connection.ended:
                    del self._scouts[client]
                elif owner is member and not connection.pipeline.jobs:
                    self._busy.add(client)
                    return client
            client = member.new_client()
            self._scouts[client] = member
            self._busy.add(client)
        return client

    def _job_of(self, member: Member, inner: Job) -> PoolJob:
        name = f"{member.server.name}/{inner['id']}"
        origin = inner.origin
        return PoolJob(name, inner.body, self, origin, inner._client, inner.id, origin)

    def reserve_job(self, job_id: str | AnyJob) -> PoolJob:
        """Reserve the job with this id, whatever its tube and state. Raises NotFound."""
        member, number = self._find(job_id)
        return self._job_of(member, member.client.reserve_job(number))

    def jobs(self, timeout: int | None = None) -> Iterator[PoolJob]:
        """Yield reserved jobs: ``for job in pool.jobs(timeout=5)``.

        Ends when none came within `timeout` seconds. Goes on after all servers were lost; raises
        ConnectionLost when the pool is closed.
        """
        while True:
            try:
                job = self.reserve(timeout)
            except TimedOut:
                return
            except ConnectionLost:
                if self._closing.is_set():
                    raise
                self._closing.wait(self._delay)
            else:
                yield job

    def delete(self, job_id: str | AnyJob) -> None:
        """Delete a job that this pool, or no connection, has reserved. Raises NotFound."""
        client, job = self._held(job_id)
        client.delete(job)
        self._settled(client)

    def release(
        self,
        job_id: str | AnyJob,
        priority: int | None = DEFAULT_PRIORITY,
        delay: int = 0,
    ) -> None:
        """Return a reserved job to its tube on its server, as :meth:`Client.release` does."""
        client, job = self._held(job_id)
        client.release(job, priority, delay)
        self._settled(client)

    def bury(self, job_id: str | AnyJob, priority: int | None = DEFAULT_PRIORITY) -> None:
        """Bury a reserved job: put it aside until it is kicked, as :meth:`Client.bury` does."""
        client, job = self._held(job_id)
        client.bury(job, priority)
        self._settled(client)

    def touch(self, job_id: str | AnyJob) -> None:
        """Touch a reserved job: its time to run begins again. Raises NotFound."""
        client, job = self._held(job_id)
        client.touch(job)

    def _held(self, job_id: str | AnyJob) -> tuple[Client, int | AnyJob]:
        """Return the client that holds a job, and what the client knows it by."""
        if isinstance(job_id, AnyPoolJob) and job_id.holder is not None:
            client: Client = job_id.client
            return client, job_id.inner
        member, number = self._find(job_id)
        with self._lock:
            for client, owner in self._scouts.items():
                connection = client.connection
                if owner is member and connection and number in connection.pipeline.jobs:
                    return client, number
        return member.client, number

    def _settled(self, client: Client) -> None:
        """Close the connection that held a job, unless it is the only one that is free to wait."""
        with self._lock:
            owner = self._scouts.get(client)
            free = [
                other
                for other, member in self._scouts.items()
                if member is owner
                and other not in self._busy
                and other.connection
                and not other.connection.pipeline.jobs
            ]
            surplus = [] if owner is None else free[1:]
            for other in surplus:
                del self._scouts[other]
        for other in surplus:
            other.close()

    def watch(self, name: str) -> int:
        """Watch a tube on all servers, to reserve its jobs too; return the number watched."""
        WATCH.encode(name)
        self._watching[name] = True
        return self._watch_changed(lambda client: client.watch(name))

    def ignore(self, name: str) -> int:
        """Stop watching a tube; return the number of tubes still watched.

        Raises NotIgnored for the last one.
        """
        IGNORE.encode(name)
        if self._watching.keys() == {name}:
            message = f"ignore: {name} is the only tube that the pool watches"
            raise NotIgnored(message, command="ignore", status="NOT_IGNORED")
        self._watching.pop(name, None)
        return self._watch_changed(lambda client: client.ignore(name))

    def _watch_changed(self, command: Callable[[Client], object]) -> int:
        with self._lock:
            scouts = [client for client in self._scouts if client not in self._busy]
        self._everywhere(command)
        for client in scouts:
            if client.closed():
                self._set_tubes(client)
            else:
                command(client)
        return len(self._watching)

    # --- looking and moving ---

    def peek(self, job_id: str | AnyJob) -> PoolJob:
        """Look at a job without reserving it. Raises NotFound."""
        member, number = self._find(job_id)
        return self._seen(member, member.client.peek(number))

    def _seen(self, member: Member, found: Job) -> PoolJob:
        return PoolJob(f"{member.server.name}/{found.id}", found.body, self)

    def peek_ready(self, *, tube: str | None = None) -> PoolJob:
        """Look at the next ready job of the first server that has one. Raises NotFound."""
        return self._peek(lambda client: client.peek_ready(tube=tube))

    def peek_delayed(self, *, tube: str | None = None) -> PoolJob:
        """Look at the next delayed job of the first server that has one. Raises NotFound."""
        return self._peek(lambda client: client.peek_delayed(tube=tube))

    def peek_buried(self, *, tube: str | None = None) -> PoolJob:
        """Look at the oldest buried job of the first server that has one. Raises NotFound."""
        return self._peek(lambda client: client.peek_buried(tube=tube))

    def _peek(self, look: Callable[[Client], Job]) -> PoolJob:
        missing: BeanstalkException | None = None
        for member in self._worth_asking():
            try:
                return self._seen(member, look(member.client))
            except (NotFound, ConnectionLost) as error:
                self._note_loss(error, member)
                missing = (
                    error if missing is None or isinstance(error, ConnectionLost) else missing
                )
        raise missing or unreachable("peek", *self._membership.members)

    def kick(self, bound: int = 1, *, tube: str | None = None) -> int:
        """Make up to `bound` jobs ready, all servers together, and return how many.

        Buried ones if any server has one, else delayed ones; of the tube in use, or of `tube`.
        """
        BOUND.check(bound)
        name = self._using if tube is None else tube
        try:
            found = self._ask_all(lambda client: client.stats_tube(name))
        except NotFound:
            return 0
        buried = [member for member, stats in found if stats["current-jobs-buried"]]
        kicked = 0
        for member in buried or [member for member, _ in found]:
            if kicked < bound:
                kicked += member.client.kick(bound - kicked, tube=name)
        return kicked

    def kick_job(self, job_id: str | AnyJob) -> None:
        """Make a buried or delayed job ready. Raises NotFound."""
        member, number = self._find(job_id)
        member.client.kick_job(number)

    def list_tubes(self) -> list[str]:
        """Return the names of the tubes that any server has."""
        found = self._ask_all(lambda client: client.list_tubes())
        return list(dict.fromkeys(name for _, names in found for name in names))

    def list_tube_used(self) -> str:
        """Return the tube in use."""
        return self._using

    def list_tubes_watched(self) -> list[str]:
        """Return the tubes watched."""
        return list(self._watching)

    def pause_tube(self, name: str, delay: int) -> None:
        """Pause a tube: reserve none of its jobs for `delay` seconds, on any server; 0 ends that.

        Raises NotFound if no server has the tube.
        """
        PAUSE_TUBE.encode(name, delay)
        self._ask_all(lambda client: client.pause_tube(name, delay))

    # --- statistics ---

    def stats_job(self, job_id: str | AnyJob) -> StatsJob:
        """Return the statistics of a job, as its server has them. Raises NotFound."""
        member, number = self._find(job_id)
        return member.client.stats_job(number)

    def stats_tube(self, name: str) -> StatsTube:
        """Return the statistics of a tube, summed over the servers.

        Raises NotFound if no server has it.
        """
        STATS_TUBE.encode(name)
        found: Any = total([s for _, s in self._ask_all(lambda client: client.stats_tube(name))])
        return found  # type: ignore[no-any-return]

    def stats(self) -> Stats:
        """Return the statistics of all servers, summed where sums mean something."""
        found: Any = total([s for _, s in self._ask_all(lambda client: client.stats())])
        return found  # type: ignore[no-any-return]

    def _worth_asking(self) -> list[Member]:
        self._revive()
        return self._membership.usable

    def _ask_all(self, ask: Callable[[Client], T]) -> list[tuple[Member, T]]:
        """Return the answers of the servers that have one; raise an error if none has."""
        found: list[tuple[Member, T]] = []
        failed: BeanstalkException | None = None
        for member in self._worth_asking():
            try:
                found.append((member, ask(member.client)))
            except (NotFound, ConnectionLost) as error:
                self._note_loss(error, member)
                failed = error if failed is None or isinstance(error, ConnectionLost) else failed
        if not found and failed is not None:
            raise failed
        return found

    def _find(self, job_id: str | AnyJob) -> tuple[Member, int]:
        """Return the server that has a job, and its number there. Raises InvalidArgument."""
        given: Any = job_id.id if isinstance(job_id, AnyJob) else job_id
        name, number = parse_job_id(given)
        return self._membership.named(name), number
