"""The blocking pool: several servers behind the verbs of one blocking client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ..client.puts import CHUNK
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
from ..pool.membership import note, unreachable
from ..pool.routing import check_key
from ..pool.totals import total
from ..protocol.arguments import BOUND, TIMEOUT
from ..protocol.commands import IGNORE, PAUSE_TUBE, STATS_TUBE, USE, WATCH, encode_put
from ..protocol.servers import parse_job_id
from ..protocol.stats import Stats, StatsJob, StatsTube
from .client import Body, Client
from .job import Job
from .member import Member
from .pool_servers import PoolServers
from .waiting import Waits

Key = str | bytes
T = TypeVar("T")


class PoolJob(Job, AnyPoolJob):
    """A job of a blocking pool: ``job.id`` is a str such as ``"a/17"``; its methods block."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type[AnyJob], tuple[Any, bytes]]:
        # A connection cannot be pickled; the id and the body can.
        return PoolJob, (self.id, self.body)


class Pool(PoolServers):
    """Talk to several beanstalkds by the verbs of one client, without an event loop.

    ::

        with Pool({"a": "beanstalk://10.0.0.1", "b": "beanstalk://10.0.0.2"}) as pool:
            pool.put("work", key="customer-7")  # "b/1"
            job = pool.reserve()
            job.delete()

    It does what :class:`beanstalkt.Pool` does, without an event loop. A server that is lost is
    left out for `reconnect_delay` seconds, and then tried again by the next call; that doubles up
    to `max_reconnect_delay` (None: 30 s). A server that accepts a command and is silent keeps that
    one call waiting for `response_timeout`. Threads may share a pool; each reserve that waits has
    connections of its own. A child process gets connections of its own, too.

    The parameters are those of :class:`beanstalkt.Pool`. Raises InvalidArgument.
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
            member.asking += 1
            try:
                if member.leaving:
                    continue  # another thread has removed it
                job = member.client.reserve(0)
            except (TimedOut, DeadlineSoon):
                member.answered()
            except ConnectionLost as error:
                member.lost(error)
            else:
                member.answered()
                return self._job_of(member, job)
            finally:
                member.asking -= 1
        return None

    def _wait(self, deadline: float | None) -> PoolJob | None:
        waits = Waits(
            lambda: self._membership.members,
            self._scout_of,
            self._is_current,
            self._closing.is_set,
        )
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

    def _job_of(self, member: Member, inner: Job) -> PoolJob:
        name = f"{member.server.name}/{inner['id']}"
        origin = inner.origin
        return PoolJob(name, inner.body, self, origin, inner._client, inner.id, origin)

    def reserve_job(self, job_id: str | AnyJob) -> PoolJob:
        """Reserve the job with this id, whatever its tube and state. Raises NotFound."""
        member, number = self._find(job_id)
        member.asking += 1
        try:
            return self._job_of(member, member.client.reserve_job(number))
        finally:
            member.asking -= 1

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
            waits = list(self._waits)
        for each in waits:
            each.wake()  # it goes on with connections that watch what the pool does now
        self._everywhere(command)
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
