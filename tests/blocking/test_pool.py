"""The blocking pool: the verbs of a pool without an event loop."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from beanstalkt import (
    ConnectionLost,
    Draining,
    InvalidArgument,
    JobTooBig,
    NotFound,
    NotIgnored,
    ReservationLost,
    TimedOut,
    blocking,
)

from ..support.alarm import on_alarm
from ..support.several import Servers, counts, several, urls_of
from ..support.waiting import block_until


@pytest.fixture
def servers() -> Iterator[Servers]:
    with several(3) as found:
        yield found


def pool_of(servers: Servers, **options: Any) -> blocking.Pool:
    options = {"connect_timeout": 10, "reconnect_delay": 0.02, **options}
    return blocking.Pool(urls_of(servers), **options)


def stats_of(servers: Servers, name: str) -> Any:
    with blocking.Client.from_url(servers[name].url) as client:
        return client.stats()


def put_on(servers: Servers, name: str, priority: int = 0) -> str:
    with blocking.Client.from_url(servers[name].url) as client:
        return f"{name}/{client.put(b'x', priority)}"


def waiting(servers: Servers) -> bool:
    """Whether somebody waits at each server."""
    return all(stats_of(servers, name)["current-waiting"] for name in servers)


def selectors_open() -> int:
    """Return how many selectors this process has open."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += "eventpoll" in os.readlink(f"/proc/self/fd/{name}")
    return found


class Caller(threading.Thread):
    """Calls a function in a thread; `result` is what it returns or raises."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self._call = call
        self.result: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._call()
        except Exception as error:
            self.result = error

    def outcome(self) -> Any:
        self.join(20)
        assert not self.is_alive()
        return self.result


def test_puts_take_turns_and_keys_stay(servers: Servers) -> None:
    with pool_of(servers) as pool:
        ids = [pool.put(b"x") for _ in range(6)]
        assert counts(ids) == {"a": 2, "b": 2, "c": 2}
        keyed = [pool.put(b"x", key="k", tube="t") for _ in range(3)]
        assert counts(keyed) == {pool.server_of("k"): 3}
        assert pool.stats_job(keyed[0])["tube"] == "t"
        assert pool.use("mine") == pool.using == pool.list_tube_used() == "mine"
        assert pool.stats_job(pool.put(b"x"))["tube"] == "mine"
        assert set(pool.list_tubes()) == {"default", "mine", "t"}


def test_put_many_is_split_and_its_ids_are_in_order(servers: Servers) -> None:
    with pool_of(servers) as pool:
        ids = pool.put_many(b"%d" % number for number in range(3000))
        assert set(counts(ids)) == {"a", "b", "c"}
        for number in (0, 511, 512, 2999):
            assert pool.peek(ids[number]).body == b"%d" % number
        bodies = [b"%d" % (number % 9) for number in range(100)]
        for body, job_id in zip(bodies, pool.put_many(bodies, key=lambda b: b), strict=True):
            assert job_id.startswith(pool.server_of(body))
        with pytest.raises(JobTooBig) as caught:
            pool.put_many([b"x", b"y" * 70_000, b"x"])
        assert caught.value.ids is not None
        assert [job_id is None for job_id in caught.value.ids] == [False, True, False]


def test_jobs_are_settled_where_they_are(servers: Servers) -> None:
    with pool_of(servers) as pool:
        put = [pool.put(b"x") for _ in range(6)]
        jobs = [pool.reserve() for _ in put]
        assert sorted(job.id for job in jobs) == sorted(put)
        jobs[0].touch()
        jobs[0].delete()
        jobs[1].bury()
        jobs[2].release(delay=100)
        pool.delete(jobs[3].id)
        assert jobs[1].stats()["state"] == "buried"
        assert pool.kick() == 1
        assert pool.kick() == 1
        pool.touch(jobs[4])
        with pytest.raises(NotFound):
            pool.peek(jobs[0])
        taken = pool.reserve_job(jobs[2].id)
        taken.delete()
        job = pickle.loads(pickle.dumps(jobs[5]))
        assert (type(job), job.id) == (blocking.PoolJob, jobs[5].id)


def test_a_waiting_reserve_gets_the_job_of_any_server(servers: Servers) -> None:
    with pool_of(servers) as pool:
        for name in servers:
            caller = Caller(pool.reserve)
            block_until(lambda: waiting(servers))
            put = put_on(servers, name)
            job = caller.outcome()
            assert job.id == put
            pool.touch(job.id)  # though another connection than the main one holds it
            job.delete()
            for each in servers:
                block_until(lambda each=each: not stats_of(servers, each)["current-waiting"])  # type: ignore[misc]


def test_connections_that_waited_are_closed_but_for_one(servers: Servers) -> None:
    with pool_of(servers) as pool:
        jobs = []
        for _ in range(3):
            caller = Caller(pool.reserve)
            block_until(lambda: waiting(servers))
            put_on(servers, "a")
            jobs.append(caller.outcome())
        assert pool.connections == 3 + 3
        for job in jobs:
            job.touch()  # after which it is still held
        for job in jobs:
            job.delete()
        assert pool.connections == 3 + 1


def test_jobs_that_arrive_at_once_are_kept_by_nobody(servers: Servers) -> None:
    with pool_of(servers) as pool:
        caller = Caller(pool.reserve)
        block_until(lambda: waiting(servers))
        put = {put_on(servers, name, 66) for name in servers}
        job = caller.outcome()
        job.delete()
        rest = [pool.reserve(5), pool.reserve(5)]
        assert {job.id, *(each.id for each in rest)} == put
        assert {each.stats()["pri"] for each in rest} == {66}


def test_timeouts_are_kept_and_nothing_is_left_waiting(servers: Servers) -> None:
    with pool_of(servers) as pool:
        for timeout in (0, 1):
            began = time.monotonic()
            with pytest.raises(TimedOut):
                pool.reserve(timeout)
            assert time.monotonic() - began >= timeout
        assert list(pool.jobs(0)) == []
        for name in servers:
            block_until(lambda name=name: not stats_of(servers, name)["current-waiting"])  # type: ignore[misc]


def test_threads_share_a_pool(servers: Servers) -> None:
    with pool_of(servers) as pool:
        done: list[str] = []

        def work() -> None:
            for job in pool.jobs(1):
                job.delete()
                done.append(job.id)

        callers = [Caller(work) for _ in range(6)]
        ids = [pool.put(b"x") for _ in range(200)]
        for caller in callers:
            assert caller.outcome() is None
        assert sorted(done) == sorted(ids)


def test_watched_tubes_are_those_of_all_servers(servers: Servers) -> None:
    with pool_of(servers) as pool:
        assert pool.watch("t") == 2
        assert pool.ignore("default") == 1
        with pytest.raises(NotIgnored):
            pool.ignore("t")
        pool.put(b"x")
        with pytest.raises(TimedOut):
            pool.reserve(1)
        put = pool.put(b"x", tube="t")
        assert pool.reserve(1).id == put
        assert pool.watching == {"t"}
        assert pool.list_tubes_watched() == ["t"]


def test_statistics_are_sums(servers: Servers) -> None:
    with pool_of(servers) as pool:
        for _ in range(5):
            pool.put(b"x", tube="t")
        assert pool.stats()["total-jobs"] == pool.stats_tube("t")["current-jobs-ready"] == 5
        pool.pause_tube("t", 10)
        assert pool.stats_tube("t")["pause"] == 10
        with pytest.raises(NotFound):
            pool.stats_tube("nowhere")
        put = pool.peek_ready(tube="t")
        assert pool.peek(put).body == b"x"
        for peek in (pool.peek_buried, pool.peek_delayed):
            with pytest.raises(NotFound):
                peek(tube="t")


def test_a_lost_server_is_left_out_and_used_again(servers: Servers) -> None:
    with pool_of(servers) as pool:
        ids = [pool.put(b"x") for _ in range(3)]
        held = next(job for job in (pool.reserve() for _ in ids) if job.server == "a")
        servers["a"].restart()
        with suppress(ConnectionLost):  # this one is sent before the loss is seen
            pool.clients["a"].stats()
        assert set(counts([pool.put(b"x") for _ in range(20)])) >= {"b", "c"}
        with pytest.raises(ReservationLost):
            held.delete()
        block_until(lambda: pool.put(b"x").startswith("a/"))
        servers["a"].kill()
        with suppress(ConnectionLost):
            pool.clients["a"].stats()
        for _ in range(10):
            assert pool.put(b"x")[0] in "bc"
        assert set(counts(pool.put_many([b"x"] * 2000))) == {"b", "c"}
        servers["a"].start()
        block_until(lambda: pool.put(b"x").startswith("a/"))


def test_a_wait_goes_on_when_servers_are_lost_and_come_back(servers: Servers) -> None:
    with pool_of(servers) as pool:
        caller = Caller(pool.reserve)
        block_until(lambda: waiting(servers))
        for server in servers.values():
            server.restart()
        put = put_on(servers, "b")
        assert caller.outcome().id == put


def test_a_draining_server_is_only_consumed(servers: Servers) -> None:
    with pool_of(servers) as pool:
        first = [pool.put(b"x") for _ in range(3)]
        servers["a"].signal(signal.SIGUSR1)
        block_until(lambda: stats_of(servers, "a")["draining"] in (True, "true"))
        ids = [pool.put(b"x") for _ in range(6)] + pool.put_many([b"x"] * 2000)
        assert set(counts(ids)) == {"b", "c"}
        assert {job.id for job in pool.jobs(0)} == {*first, *ids}
        with pytest.raises(Draining):
            pool.put(b"x", key=next(k for k in map(str, range(99)) if pool.server_of(k) == "a"))


def test_all_gone_is_said_and_all_back_is_found(servers: Servers) -> None:
    with pool_of(servers) as pool:
        for server in servers.values():
            server.kill()
        for verb in (pool.reserve, pool.stats, lambda: pool.put(b"x"), lambda: pool.put_many("x")):
            with pytest.raises((ConnectionLost, InvalidArgument)):
                verb()
        with pytest.raises(ConnectionLost):
            pool_of(servers, connect_timeout=0).connect()
        for server in servers.values():
            server.start()
        assert pool.put(b"x")


def test_a_close_ends_the_wait_of_another_thread(servers: Servers) -> None:
    pool = pool_of(servers)
    pool.connect()
    caller = Caller(pool.reserve)
    block_until(lambda: waiting(servers))
    pool.close()
    assert isinstance(caller.outcome(), ConnectionLost)
    with pytest.raises(ConnectionLost, match="closed"):
        pool.put(b"x")
    assert pool.closed()
    pool.close()
    with pool:
        assert pool.put(b"x")


# Between two steps of connecting nothing refers to a socket but what is about to be returned.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_an_interrupted_wait_leaves_nothing_behind(servers: Servers) -> None:
    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    with on_alarm(ring), pool_of(servers) as pool:
        for number in range(20):
            signal.setitimer(signal.ITIMER_REAL, 0.001 * (number + 1))
            with pytest.raises(Alarm):
                list(pool.jobs(5))
        put = pool.put(b"x", priority=7)
        assert pool.reserve(5).id == put
    for name in servers:
        block_until(lambda name=name: stats_of(servers, name)["current-connections"] == 1)  # type: ignore[misc]


def test_a_child_process_has_connections_of_its_own(servers: Servers) -> None:
    with pool_of(servers) as pool:
        pool.put(b"x")
        child = os.fork()
        if not child:
            signal.alarm(20)
            try:
                pool.put(b"from the child")
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert sorted(job.body for job in pool.jobs(0)) == [b"from the child", b"x"]


def test_a_child_process_is_not_kept_by_what_threads_of_its_parent_do(servers: Servers) -> None:
    with pool_of(servers) as pool:
        caller = Caller(pool.reserve)
        block_until(lambda: waiting(servers))
        held = put_on(servers, "a")
        job = caller.outcome()
        caller = Caller(pool.reserve)
        block_until(lambda: waiting(servers))
        with pool._lock:  # another thread may hold it when a process forks
            child = os.fork()
            if not child:
                signal.alarm(20)
                try:
                    assert not selectors_open()
                    with pytest.raises(ReservationLost):
                        job.delete()
                    with pytest.raises(TimedOut):
                        pool.reserve(1)
                    pool.put(b"from the child")
                    pool.close()
                    os._exit(0)
                finally:
                    os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert caller.outcome().body == b"from the child"
        assert job.id == held
        job.delete()  # the child has not closed the parent's connections


# --- other servers than before ---


def test_servers_can_be_added_and_removed(servers: Servers) -> None:
    urls = urls_of(servers)
    pool = blocking.Pool({"a": urls["a"], "b": urls["b"]}, reconnect_delay=0.02)
    with pool:
        for name in ("a", "a", "b"):
            put_on(servers, name)
        taken = [pool.reserve() for _ in range(3)]
        put_on(servers, "a")
        before = pool.clients["b"].connection
        pool.set_servers({"b": urls["b"] + "?weight=2", "c": urls["c"]})
        assert [server.name for server in pool.servers] == ["b", "c"] == list(pool.usable)
        assert counts([pool.put(b"x") for _ in range(6)]) == {"b": 4, "c": 2}
        assert pool.clients["b"].connection is before
        assert "a" not in counts([job.id for job in pool.jobs(0)])
        assert pool.url_of("a") == urls["a"]  # its jobs can be settled
        for job in taken:
            job.delete()
        block_until(lambda: stats_of(servers, "a")["current-connections"] == 1)
        with pytest.raises(InvalidArgument):
            pool.url_of("a")
        assert pool.connections == 2
        with pytest.raises(InvalidArgument):
            pool.set_servers({})
        assert list(pool.usable) == ["b", "c"]


@pytest.mark.parametrize("timeout", [0, None])
def test_a_job_that_comes_while_its_server_is_removed_can_be_settled(
    servers: Servers, timeout: int | None
) -> None:
    urls = urls_of(servers)
    put_on(servers, "a")
    with blocking.Pool({"a": urls["a"]}, reconnect_delay=0.02) as pool:
        pool.connect()
        servers["a"].freeze()
        caller = Caller(lambda: pool.reserve(timeout))
        block_until(lambda: pool._membership.members[0].asking, "a reserve is under way")
        change = Caller(lambda: pool.set_servers({"b": urls["b"]}))
        block_until(lambda: [server.name for server in pool.servers] == ["b"])
        servers["a"].thaw()
        assert change.outcome() is None
        caller.outcome().delete()
        pool.put(b"x")
        block_until(lambda: stats_of(servers, "a")["current-connections"] == 1)


def test_a_reserve_that_waits_goes_on_at_the_new_servers(servers: Servers) -> None:
    urls = urls_of(servers)
    with blocking.Pool({"a": urls["a"]}, reconnect_delay=0.02) as pool:
        caller = Caller(pool.reserve)
        block_until(lambda: stats_of(servers, "a")["current-waiting"])
        pool.set_servers({"a": urls["a"], "b": urls["b"]})
        block_until(lambda: stats_of(servers, "b")["current-waiting"])
        pool.set_servers({"b": urls["b"]})
        block_until(lambda: not stats_of(servers, "a")["current-waiting"])
        put_on(servers, "a")
        put = put_on(servers, "b")
        assert caller.outcome().id == put
        block_until(lambda: stats_of(servers, "a")["current-connections"] == 2)  # the main one
        pool.put(b"x")
        block_until(lambda: stats_of(servers, "a")["current-connections"] == 1)


def test_a_reserve_that_waits_takes_from_the_tubes_watched_since(servers: Servers) -> None:
    with pool_of(servers, watching=["s"]) as pool:
        assert pool.watching == {"s"}
        caller = Caller(pool.reserve)
        block_until(lambda: waiting(servers))
        pool.watch("t")
        pool.ignore("s")
        block_until(lambda: "s" not in pool.list_tubes())  # the other thread does it by itself
        block_until(lambda: waiting(servers))
        pool.put(b"not this one", tube="s")
        put = pool.put(b"x", tube="t")
        job = caller.outcome()
        assert job.id == put
        pool.watch("u")
        job.delete()  # what held it could wait again, but watches other tubes
        caller = Caller(pool.reserve)
        block_until(lambda: waiting(servers))
        with blocking.Client.from_url(servers[job.server].url) as client:
            client.put(b"y", tube="u")
        assert caller.outcome().body == b"y"


def test_the_callback_tells_that_a_server_is_back(servers: Servers) -> None:
    calls: list[int] = []
    pool = pool_of(servers)
    pool.set_reconnect_callback(lambda: calls.append(1))
    with pytest.raises(InvalidArgument):
        pool.set_reconnect_callback("x")  # type: ignore[arg-type]
    with pool:
        assert not calls
        servers["a"].restart()
        with suppress(ConnectionLost):
            pool.clients["a"].stats()
        block_until(lambda: pool.put(b"x").startswith("a/"))
        assert len(calls) == 1
        pool.set_reconnect_callback(None)
        servers["b"].restart()
        with suppress(ConnectionLost):
            pool.clients["b"].stats()
        block_until(lambda: pool.put(b"x").startswith("b/"))
        assert len(calls) == 1


def test_a_server_is_left_out_for_as_long_as_the_options_say(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0  # by this clock the machine is never too slow
    monkeypatch.setattr("beanstalkt.blocking.member.monotonic", lambda: now)
    with pool_of(servers, reconnect_delay=0.1, max_reconnect_delay=0.2) as pool:
        assert pool.connections == 3
        servers["a"].kill()
        with suppress(ConnectionLost):
            pool.clients["a"].stats()
        member = pool._membership.named("a")
        for delay in (0.1, 0.2, 0.2):
            assert member.usable
            for _ in servers:
                pool.put(b"x")
            assert pool.usable == ("b", "c")
            assert member.back_at == now + delay
            now += delay
    for bad in ("t", [], ["a b"]):
        with pytest.raises(InvalidArgument):
            pool_of(servers, watching=bad)


def test_ids_and_arguments_of_other_kinds_are_refused(servers: Servers) -> None:
    pool = pool_of(servers)
    for wrong in (17, "17", "d/1", None):
        for verb in (pool.delete, pool.touch, pool.peek, pool.reserve_job):
            call: Any = verb
            with pytest.raises(InvalidArgument):
                call(wrong)
    for call in (
        lambda: pool.put(7),  # type: ignore[arg-type]
        lambda: pool.put(b"x", tube="a b"),
        lambda: pool.put(b"x", key=7),  # type: ignore[arg-type]
        lambda: pool.reserve(-1),
        lambda: blocking.Pool(""),
        lambda: blocking.Pool("beanstalk://h", strategy="x"),
    ):
        with pytest.raises(InvalidArgument):
            call()
    assert repr(pool).startswith("<Pool a=beanstalk://")
