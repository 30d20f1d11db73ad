"""The blocking client by itself: threads, processes, signals, and each kind of loss."""

from __future__ import annotations

import errno
import gc
import logging
import multiprocessing
import os
import pickle
import signal
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import Mock

import pytest

import beanstalkt
from beanstalkt import (
    ConnectionLost,
    DeadlineSoon,
    InvalidArgument,
    NotFound,
    ReservationLost,
    TimedOut,
)
from beanstalkt.blocking import Client, Job
from beanstalkt.blocking import client_connection as module
from beanstalkt.blocking.connection import NEVER, open_connection
from beanstalkt.client.timing import DEADLINE_PAUSE, Timing

from ..support.alarm import on_alarm
from ..support.beanstalkd import HOST, Beanstalkd, free_port
from ..support.embedded import AnyServer
from ..support.waiting import block_until

PATIENCE = 20.0  # seconds; what takes longer hangs


def client_of(server: AnyServer, **options: Any) -> Client:
    return Client(server.host, server.port, reconnect_delay=0.01, **options)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.001)


class Thread(threading.Thread):
    """Runs a function, and keeps what it returns or raises."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.function = function
        self.result: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.function()
        except BaseException as error:
            self.result = error

    def end(self) -> Any:
        self.join(PATIENCE)
        assert not self.is_alive(), "it still waits"
        return self.result


def waiting(client: Client) -> bool:
    """Whether a reserve of this client waits at the server."""
    return client._lock.waiting is not None and under_way(client)


def under_way(client: Client) -> bool:
    """Whether a command of this client is sent, or about to be."""
    return client._connection is not None and client._connection.used == NEVER


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    gc.collect()
    before = count()
    yield
    gc.collect()
    # The embedded server closes its end of a connection in a thread of its own.
    block_until(lambda: count() <= before, "no more descriptors than before")


# --- threads ---


def test_threads_share_a_client(server: AnyServer) -> None:
    def work(name: int) -> None:
        for number in range(200):
            body = b"%d-%d" % (name, number)
            job_id = client.put(body, tube=f"tube-{name % 3}")
            assert client.peek(job_id).body == body
            client.delete(job_id)

    with client_of(server) as client:
        threads = [Thread(lambda name=name: work(name)) for name in range(6)]  # type: ignore[misc]
        assert [thread.end() for thread in threads] == [None] * 6
        assert client.list_tube_used() == "default"
        assert client.stats()["total-jobs"] == 1200


def test_a_waiting_reserve_keeps_others_waiting_and_a_warning_says_so(
    beanstalkd: Beanstalkd, caplog: pytest.LogCaptureFixture
) -> None:
    timing = Timing(hold_warning=0.05)
    with client_of(beanstalkd, timing=timing) as client, client_of(beanstalkd) as other:
        reserve = Thread(client.reserve)
        until(lambda: waiting(client))
        put = Thread(lambda: client.put(b"held"))
        until(lambda: caplog.messages)
        assert "reserve" in caplog.messages[0]
        assert put.is_alive()
        time.sleep(0.2)
        assert len(caplog.messages) == 1
        other.put(b"job")
        assert reserve.end().body == b"job"
        assert put.end() == 2


def test_no_warning_without_a_limit(beanstalkd: Beanstalkd) -> None:
    timing = Timing(hold_warning=float("inf"))
    with client_of(beanstalkd, timing=timing) as client, client_of(beanstalkd) as other:
        reserve = Thread(client.reserve)
        until(lambda: waiting(client))
        put = Thread(lambda: client.put(b"held"))
        other.put(b"job")
        assert reserve.end().body == b"job"
        assert put.end() == 2


@pytest.mark.parametrize("timeout", [None, 100])
def test_close_wakes_a_reserve_of_another_thread(server: AnyServer, timeout: int | None) -> None:
    with no_more_descriptors():
        # At once, and not when it gives up waiting for an answer.
        client = client_of(server, timing=Timing(close_timeout=1000))
        reserve = Thread(lambda: client.reserve(timeout))
        until(lambda: waiting(client))
        closing = Thread(client.close)
        error = reserve.end()
        closing.end()
        assert isinstance(error, ConnectionLost)
        assert "closed" in str(error)
        assert client.closed()


def test_close_wakes_a_reserve_that_connects_again(beanstalkd: Beanstalkd) -> None:
    client = Client(beanstalkd.host, beanstalkd.port, reconnect_delay=1000)
    reserve = Thread(client.reserve)
    until(lambda: waiting(client))
    beanstalkd.kill()
    until(client.closed)
    begin = time.monotonic()
    client.close()
    assert isinstance(reserve.end(), ConnectionLost)
    assert time.monotonic() - begin < PATIENCE


def test_close_wakes_a_reserve_that_has_just_connected_again(
    beanstalkd: Beanstalkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(beanstalkd)
    client.connect()
    interrupted = threading.Event()
    interrupt = client._interrupt
    closing: list[Thread] = []

    def open_and_close(*arguments: Any) -> Any:
        opened = open_connection(*arguments)
        if not closing:  # before the client knows of the new connection
            closing.append(Thread(client.close))
            interrupted.wait(PATIENCE)
        return opened

    def interrupt_and_tell() -> None:
        interrupt()
        interrupted.set()

    monkeypatch.setattr(client, "_interrupt", interrupt_and_tell)
    reserve = Thread(client.reserve)
    until(lambda: waiting(client))
    monkeypatch.setattr(module, "open_connection", open_and_close)
    beanstalkd.restart()
    assert isinstance(reserve.end(), ConnectionLost)
    closing[0].end()


def test_close_ends_connect_of_another_thread() -> None:
    client = Client(HOST, free_port(), reconnect_delay=1000)
    connect = Thread(client.connect)
    until(lambda: client._lock.busy)
    client.close()
    assert isinstance(connect.end(), ConnectionLost)


def test_connect_gives_up_in_time_while_the_tubes_are_replayed(beanstalkd: Beanstalkd) -> None:
    client = client_of(beanstalkd, connect_timeout=0.2)
    client.use("elsewhere")
    client.close()
    beanstalkd.freeze()
    try:
        connecting = Thread(client.connect)
        error = connecting.end()  # in less than the minute that any reply may take
        assert isinstance(error, ConnectionLost)
        assert "within 0.2 s" in str(error)
    finally:
        beanstalkd.thaw()
    assert client.put(b"x", tube="a") == 1
    assert client.list_tube_used() == "elsewhere"
    client.close()


def test_a_put_of_many_bodies_says_that_another_thread_closed_the_client(
    beanstalkd: Beanstalkd,
) -> None:
    client = client_of(beanstalkd)

    def bodies() -> Iterator[bytes]:
        yield b"x"
        Thread(client.close)
        until(client._closing.is_set)
        until(lambda: client._connection is not None and client._connection._interrupted)
        yield from [b"x"] * 10_000

    with pytest.raises(ConnectionLost, match="the connection was lost: the client was closed"):
        client.put_many(bodies())


def test_close_ends_a_call_that_a_frozen_server_does_not_answer(beanstalkd: Beanstalkd) -> None:
    timing = Timing(close_timeout=0.1)
    client = client_of(beanstalkd, response_timeout=float("inf"), timing=timing)
    client.put(b"job")
    beanstalkd.freeze()
    put = Thread(lambda: client.put(b"job"))
    until(lambda: under_way(client))
    client.close()
    assert isinstance(put.end(), ConnectionLost)
    beanstalkd.thaw()


# --- processes ---


def in_child(function: Callable[[], None]) -> None:
    """Run it in a forked process, which must end without an error."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.alarm(int(PATIENCE))
            function()
            status = 0
        except BaseException:
            logging.exception("in the child")
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0


pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def test_a_forked_child_gets_a_connection_of_its_own(beanstalkd: Beanstalkd) -> None:
    with client_of(beanstalkd) as client:
        client.use("used")
        client.put(b"job")
        client.watch("used")
        job = client.reserve()
        connections = client.stats()["total-connections"]

        def child() -> None:
            assert client.closed()
            for settle in (job.delete, job.release, job.bury, job.touch):
                with pytest.raises(ReservationLost, match="of the parent process"):
                    settle()
            assert client.list_tube_used() == "used"
            assert set(client.list_tubes_watched()) == {"default", "used"}
            assert client.put(b"of the child") == 2
            client.close()

        in_child(child)
        assert not client.closed()
        assert client.stats()["total-connections"] == connections + 1
        job.delete()
        assert client.reserve(0).body == b"of the child"


@pytest.mark.parametrize("reserves", [True, False])
def test_a_fork_while_another_thread_is_in_a_call(beanstalkd: Beanstalkd, reserves: bool) -> None:
    with client_of(beanstalkd) as client, client_of(beanstalkd) as other:
        if not reserves:
            client.put(b"first")
            beanstalkd.freeze()
        server = beanstalkd.process.pid if beanstalkd.process else 0
        thread = Thread(client.reserve if reserves else lambda: client.put(b"second"))
        until(lambda: under_way(client))

        def child() -> None:
            if not reserves:
                os.kill(server, signal.SIGCONT)
            assert client.put(b"of the child", tube="child") > 0
            client.close()

        in_child(child)
        if reserves:
            other.put(b"job")
            assert thread.end().body == b"job"
        else:
            assert thread.end() == 2
        assert client.peek_ready(tube="child").body == b"of the child"


def _put_in_process(client: Client) -> None:
    client.put(b"of the process")


def test_multiprocessing(beanstalkd: Beanstalkd) -> None:
    with client_of(beanstalkd) as client:
        client.put(b"job")
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=_put_in_process, args=(client,)) for _ in range(4)]
        for process in processes:
            process.start()
        for number in range(50):
            assert client.put(b"%d" % number) > 0
        for process in processes:
            process.join(PATIENCE)
            assert process.exitcode == 0
        assert client.stats()["current-jobs-ready"] == 55


def test_a_fork_by_the_bodies_of_put_many(beanstalkd: Beanstalkd) -> None:
    """The child finds that it has no connection, and is not told that the puts went in."""
    children: list[int] = []

    def bodies() -> Iterator[bytes]:
        yield b"one"
        children.append(os.fork())
        yield b"two"

    with client_of(beanstalkd) as client:
        parent = os.getpid()
        try:
            ids = client.put_many(bodies())
        except ConnectionLost:
            os._exit(0 if os.getpid() != parent else 1)
        finally:
            if os.getpid() != parent:
                os._exit(1)
        assert ids == [1, 2]
        assert os.waitpid(children[0], 0)[1] == 0
        assert client.stats()["total-jobs"] == 2


# --- signals ---


class Interrupted(BaseException):
    pass


def test_an_exception_of_a_signal_handler_ends_the_wait(beanstalkd: Beanstalkd) -> None:
    def handler(*_: object) -> None:
        raise Interrupted

    with (
        no_more_descriptors(),
        client_of(beanstalkd) as client,
        on_alarm(handler),
    ):
        for timeout in (None, 100):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Interrupted):
                client.reserve(timeout)
            # What comes for that reserve reaches nobody else.
            job_id = client.put(b"job")
            assert client.list_tube_used() == "default"
            assert client.reserve(0).id == job_id
            client.delete(job_id)


@pytest.mark.parametrize("reserves", [False, True])
def test_signals_do_not_prolong_the_wait_for_a_frozen_server(
    beanstalkd: Beanstalkd, reserves: bool
) -> None:
    """The interpreter begins a read anew after each signal, with the timeout of the socket."""
    calls = 0

    def look(*_: object) -> None:
        nonlocal calls
        calls += 1
        assert calls < PATIENCE * 100, "it still waits"

    client = client_of(beanstalkd, response_timeout=0.2)
    client.connect()
    beanstalkd.freeze()
    try:
        with on_alarm(look):
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            with pytest.raises(TimedOut if reserves else ConnectionLost, match=r"within 0\.2 s"):
                client.reserve(1) if reserves else client.put(b"x")
    finally:
        beanstalkd.thaw()
    assert calls
    client.close()


def test_a_handler_that_only_looks_disturbs_nothing(beanstalkd: Beanstalkd) -> None:
    times: list[float] = []
    with (
        client_of(beanstalkd) as client,
        on_alarm(lambda *_: times.append(time.monotonic())),
    ):
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        with pytest.raises(TimedOut):
            client.reserve(1)
        assert len(times) > 5
        client.put(b"x" * 65535)


def test_a_call_within_a_call_is_refused_and_harms_nothing(beanstalkd: Beanstalkd) -> None:
    with client_of(beanstalkd) as client:
        errors: list[BaseException] = []
        connections = client.stats()["total-connections"]

        def handler(*_: object) -> None:
            for call in (lambda: client.put(b"within"), client.reserve, client.connect):
                try:
                    call()
                except RuntimeError as error:
                    errors.append(error)

        with on_alarm(handler):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(TimedOut):
                client.reserve(1)
        assert len(errors) == 3
        assert client.stats()["total-connections"] == connections

        def bodies() -> Iterator[bytes]:
            yield b"one"
            client.put(b"two")

        with pytest.raises(RuntimeError, match="second Client") as caught:
            client.put_many(bodies())
        assert caught.value.ids == [1]  # type: ignore[attr-defined]
        assert client.put(b"after") == 2


def test_a_signal_handler_may_close_the_client(beanstalkd: Beanstalkd) -> None:
    with no_more_descriptors():
        client = client_of(beanstalkd)
        client.connect()
        with on_alarm(lambda *_: client.close()):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(ConnectionLost, match="closed"):
                client.reserve()
        with pytest.raises(ConnectionLost, match="closed"):
            client.put(b"job")
        assert client.closed()


# --- losing the connection ---


def test_a_server_restarted_while_idle_is_not_noticed(server: AnyServer) -> None:
    calls: list[str] = []
    with client_of(server) as client:
        client.set_reconnect_callback(lambda: calls.append(client.using))
        client.use("used")
        for _ in range(3):
            client.put(b"job")
            job = client.reserve_job(1)
            server.restart()
            time.sleep(0.02)
            with pytest.raises(ReservationLost):
                job.delete()
            assert client.put(b"job") == 1
            assert client.peek_ready().id == 1
    assert calls == ["used"] * 3


def test_a_loss_is_a_warning(server: AnyServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "beanstalkt")
    with client_of(server) as client:
        server.restart()
        time.sleep(0.02)
        client.put(b"job")
    told = [f"{each.levelname} {each.getMessage()}" for each in caplog.records]
    assert len(told) == 2
    assert told[0].startswith(f"WARNING lost the connection to {client.address}: ")
    assert told[0].endswith("; connecting again with the next call")
    assert told[1] == f"INFO connected to {client.address} again"


def test_a_reconnect_callback_that_fails_is_logged(
    beanstalkd: Beanstalkd, caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(beanstalkd) as client:
        client.set_reconnect_callback(lambda: client.put(b"within"))
        beanstalkd.restart()
        time.sleep(0.02)
        assert client.put(b"job") == 1
    assert "reconnect callback" in caplog.text


def test_a_reserve_goes_on_over_a_lost_connection_with_what_is_left(
    beanstalkd: Beanstalkd,
) -> None:
    with client_of(beanstalkd) as client:
        reserve = Thread(lambda: client.reserve(2))
        begin = time.monotonic()
        until(lambda: waiting(client))
        time.sleep(0.5)
        beanstalkd.restart()
        assert isinstance(reserve.end(), TimedOut)
        assert 1.9 < time.monotonic() - begin < PATIENCE

        reserve = Thread(lambda: client.reserve(100))
        until(lambda: waiting(client))
        beanstalkd.restart()
        with client_of(beanstalkd) as other:
            other.put(b"job")
        job = reserve.end()
        assert job.body == b"job"
        job.delete()  # on the connection that it came on


def test_a_reserve_whose_server_stays_away_times_out(beanstalkd: Beanstalkd) -> None:
    with client_of(beanstalkd) as client:
        reserve = Thread(lambda: client.reserve(1))
        until(lambda: waiting(client))
        beanstalkd.kill()
        error = reserve.end()
        assert isinstance(error, TimedOut)
        assert "lost" in str(error)


def test_jobs_goes_on(beanstalkd: Beanstalkd) -> None:
    with client_of(beanstalkd) as client, client_of(beanstalkd) as other:
        jobs = client.jobs()
        for number in range(3):
            other.put(b"%d" % number)
            job = next(jobs)
            assert job.body == b"%d" % number
            job.delete()
            beanstalkd.restart()
            time.sleep(0.02)
        assert [job.body for job in client.jobs(timeout=0)] == []


def test_the_system_says_that_the_peer_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ETIMEDOUT is told as it is: it does not mean that response_timeout is over."""
    with socket.create_server((HOST, 0)) as listener:
        client = Client(HOST, listener.getsockname()[1])
        client.connect()
        connection = client.connection
        assert connection is not None
        gone = TimeoutError(errno.ETIMEDOUT, "Connection timed out")
        with connection._sock:
            monkeypatch.setattr(connection, "_sock", Mock(send=len, recv=Mock(side_effect=gone)))
            with pytest.raises(ConnectionLost, match=r"was lost: Connection timed out$"):
                client.put(b"x")


def test_close_says_quit() -> None:
    with socket.create_server((HOST, 0)) as listener:
        client = Client(HOST, listener.getsockname()[1])
        client.connect()
        peer, _ = listener.accept()
        client.close()
        assert client.reason == "the client was closed"
        with peer:
            peer.settimeout(PATIENCE)
            assert peer.recv(100) == b"quit\r\n"


def test_what_the_socket_did_not_take_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "beanstalkt.blocking.client_connection.IDLE", 1000.0
    )  # so it does not look before
    with socket.create_server((HOST, 0)) as listener:
        client = Client(HOST, listener.getsockname()[1])
        first = Thread(lambda: client.put(b"first"))
        peer, _ = listener.accept()
        assert peer.recv(100)
        peer.sendall(b"INSERTED 1\r\n")
        assert first.end() == 1
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()  # with a reset, after which the socket takes nothing
        with pytest.raises(ConnectionLost) as caught:
            client.put(b"second")
        assert not caught.value.sent
        client.close()


def test_jobs_pauses_where_the_server_would_say_the_same_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes: list[type[Exception]] = [DeadlineSoon, DeadlineSoon, TimedOut]
    pauses: list[float] = []

    def reserve(*_: object) -> Job:
        raise outcomes.pop(0)

    monkeypatch.setattr(Client, "reserve", reserve)
    monkeypatch.setattr("beanstalkt.blocking.client.time", Mock(sleep=pauses.append))
    assert list(Client().jobs(timeout=1)) == []
    assert pauses == [DEADLINE_PAUSE] * 2


def test_without_a_server_each_call_says_so() -> None:
    with no_more_descriptors():
        client = Client(HOST, free_port(), 0.1, reconnect_delay=0.01)
        for call in (
            lambda: client.put(b"job"),
            client.reserve,
            lambda: client.reserve(1),
            lambda: client.put_many([b"job"]),
            lambda: client.use("x"),
            lambda: client.put(b"", tube="x"),
        ):
            with pytest.raises(ConnectionLost, match="refused") as caught:
                call()
            assert not caught.value.sent
        with pytest.raises(ConnectionLost, match=r"within 0\.1 s"):
            client.connect()
        assert client.using == "default"


VERBS: list[Callable[[Client], Any]] = [
    lambda client: client.put(b"job"),
    lambda client: client.put(bytes(3_000_000)),
    lambda client: client.put(b"job", tube="x"),
    lambda client: client.put_many([b"job"] * 3000),
    lambda client: client.put_many([bytes(100_000)] * 300),
    lambda client: client.use("x"),
    lambda client: client.watch("x"),
    lambda client: client.ignore("x"),
    lambda client: client.reserve(0),
    lambda client: client.reserve_job(1),
    lambda client: client.delete(1),
    lambda client: client.release(1),
    lambda client: client.release(1, None),
    lambda client: client.bury(1, None),
    lambda client: client.touch(1),
    lambda client: client.peek(1),
    lambda client: client.kick(),
    lambda client: client.stats(),
    lambda client: client.list_tubes(),
    lambda client: client.pause_tube("x", 1),
]


@pytest.mark.parametrize("number", range(len(VERBS)))
def test_a_frozen_server_is_noticed(beanstalkd: Beanstalkd, number: int) -> None:
    with no_more_descriptors(), client_of(beanstalkd, response_timeout=0.2) as client:
        beanstalkd.freeze()
        begin = time.monotonic()
        with pytest.raises(ConnectionLost, match=r"within 0\.2 s") as caught:
            VERBS[number](client)
        assert time.monotonic() - begin > 0.15
        assert caught.value.sent or number == 12 or number == 13
        beanstalkd.thaw()
        # On a busy machine, 0.2 s may be too little for some replies, but not for all.
        block_until(lambda: answers(client), "an answer of the server")


def answers(client: Client) -> bool:
    with suppress(ConnectionLost):
        return bool(client.list_tubes())
    return False


def scripted(script: Callable[[socket.socket], None]) -> tuple[int, Thread]:
    """Play a script on the first connection to a port; return the port and its thread."""
    listener = socket.create_server((HOST, 0))

    def play() -> None:
        with listener:
            sock, _ = listener.accept()
        with sock:
            script(sock)

    return listener.getsockname()[1], Thread(play)


def test_a_reserve_may_take_its_own_time_and_that_of_a_reply(beanstalkd: Beanstalkd) -> None:
    def late(sock: socket.socket) -> None:
        sock.recv(100)
        time.sleep(1.5)
        sock.sendall(b"TIMED_OUT\r\n")

    port, thread = scripted(late)
    client = Client(HOST, port, response_timeout=0.9)
    with pytest.raises(TimedOut) as caught:
        client.reserve(1)
    assert caught.value.status == "TIMED_OUT"  # as the server says
    client.close()
    thread.end()
    with client_of(beanstalkd, response_timeout=0.9) as client, client_of(beanstalkd) as other:
        reserve = Thread(client.reserve)
        until(lambda: waiting(client))
        time.sleep(1)
        other.put(b"job")
        assert reserve.end().body == b"job"


def test_the_time_to_connect_does_not_become_that_of_a_reply() -> None:
    conversation = [b"USING used\r\n", None, b"USING used\r\n", b"INSERTED 1\r\n"]

    def play() -> None:
        with socket.create_server((HOST, port)) as listener:
            listening.set()
            while conversation:
                with listener.accept()[0] as sock:
                    while sock.recv(100) and (reply := conversation.pop(0)) is not None:
                        if not conversation:
                            time.sleep(1)
                        sock.sendall(reply)

    port = free_port()
    listening = threading.Event()
    peer = Thread(play)
    assert listening.wait(PATIENCE)
    client = Client(HOST, port, connect_timeout=0.7, response_timeout=PATIENCE)
    client.use("used")
    with pytest.raises(ConnectionLost):
        client.put(b"lost")
    client.connect()  # and the tube is replayed, within 0.7 s
    assert client.put(b"x") == 1
    client.close()
    peer.end()


def test_a_server_that_stays_away_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    client = Client(port=free_port(), connect_timeout=0.2, reconnect_delay=0.01)
    with pytest.raises(ConnectionLost):
        client.connect()
    assert [each.getMessage() for each in caplog.records] == [
        f"cannot connect to {client.address}: Connection refused; trying again"
    ]


def test_a_peer_that_drips_is_noticed() -> None:
    def drip(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(b"OK 100000\r\n")
        with suppress(OSError):
            while True:
                sock.sendall(b"-")
                time.sleep(0.01)

    port, thread = scripted(drip)
    client = Client(HOST, port, response_timeout=0.2)
    with pytest.raises(ConnectionLost, match="within"):
        client.stats()
    thread.end()


def test_a_long_body_that_moves_is_not_late() -> None:
    def slowly(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(b"FOUND 1 1000000\r\n")
        for _ in range(50):
            sock.sendall(bytes(20_000))
            time.sleep(0.04)
        sock.sendall(b"\r\n")

    port, thread = scripted(slowly)
    client = Client(HOST, port, response_timeout=1)
    assert client.peek(1).body == bytes(1_000_000)
    client.close()
    assert thread.end() is None


@pytest.mark.parametrize(
    "reply", [b"NONSENSE\r\n", b"INSERTED x\r\n", b"x" * 2000, b"TOUCHED\r\n"]
)
def test_a_reply_that_fits_nothing_ends_the_connection(reply: bytes) -> None:
    def answer(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(reply)

    port, thread = scripted(answer)
    with no_more_descriptors():
        client = Client(HOST, port)
        with pytest.raises(beanstalkt.BeanstalkException):
            client.put(b"job")
        assert client.closed()
        thread.end()


def test_a_reply_to_nothing_is_noticed_before_the_next_call() -> None:
    said = threading.Event()

    def speak(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(b"INSERTED 1\r\n")
        sock.sendall(b"INSERTED 2\r\n")
        said.set()
        sock.recv(100)

    port, thread = scripted(speak)
    client = Client(HOST, port)
    # It may come together with the first reply, which is an error then.
    with suppress(beanstalkt.UnexpectedResponse):
        assert client.put(b"one") == 1
    said.wait(PATIENCE)
    time.sleep(0.05)
    with pytest.raises(ConnectionLost):
        client.put(b"two")
    thread.end()


# --- many and big ---


def test_a_big_body_both_ways() -> None:
    server = Beanstalkd("-z", "60000000")
    server.start()
    try:
        with client_of(server) as client:
            body = os.urandom(1_000_000) * 50
            assert client.put(body) == 1
            assert client.reserve().body == body
            client.put_many([body[:5_000_000]] * 10)
            assert client.stats()["current-jobs-ready"] == 10
    finally:
        server.stop()


def test_many_puts_in_bounded_memory(beanstalkd: Beanstalkd) -> None:
    count = 100_000
    with client_of(beanstalkd) as client:
        tracemalloc.start()
        try:
            ids = client.put_many(b"x" * 100 for _ in range(count))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert ids == list(range(1, count + 1))
        # The ids themselves are some 40 bytes each.
        assert peak < 80 * count + 2_000_000


def test_put_many_that_is_refused_in_the_middle(server: AnyServer) -> None:
    with client_of(server) as client:
        with pytest.raises(beanstalkt.JobTooBig) as caught:
            client.put_many([b"1", b"x" * 70_000, b"3"])
        first, refused, third = caught.value.ids or []
        assert refused is None
        assert client.peek(first or 0).body == b"1"
        assert client.peek(third or 0).body == b"3"


def test_put_many_whose_server_dies(beanstalkd: Beanstalkd) -> None:
    def bodies() -> Iterator[bytes]:
        for number in range(1_000_000):
            if number == 20_000:
                beanstalkd.kill()
            yield b"%d" % number

    with no_more_descriptors(), client_of(beanstalkd) as client:
        with pytest.raises(ConnectionLost) as caught:
            client.put_many(bodies())
        ids = caught.value.ids
        assert ids is not None
        assert ids[:1000] == list(range(1, 1001))
        assert len(ids) < 30_000
        beanstalkd.start()
        assert client.put(b"after") == 1


@pytest.mark.parametrize(
    "error", [ValueError, KeyboardInterrupt, StopIteration, GeneratorExit, SystemExit]
)
def test_what_the_bodies_raise_is_raised(server: AnyServer, error: type[BaseException]) -> None:
    class Bodies:
        def __iter__(self) -> Bodies:
            self.taken = 0
            return self

        def __next__(self) -> Any:
            self.taken += 1
            if self.taken == 3:
                raise error("x") if error is not StopIteration else ValueError("y")
            return b"x"

    with client_of(server) as client:
        expected = ValueError if error is StopIteration else error
        with pytest.raises(expected) as caught:
            client.put_many(Bodies())
        assert caught.value.ids == [1, 2]  # type: ignore[attr-defined]
        assert client.put(b"after") == 3


# --- the rest ---


def test_the_pool_is_looked_up_late_and_nothing_else_is() -> None:
    assert beanstalkt.blocking.Pool.__name__ == "Pool"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(beanstalkt.blocking, "nothing")  # noqa: B009


def test_a_pickled_job_is_a_bare_one(server: AnyServer) -> None:
    with client_of(server) as client:
        client.put(b"x")
        job = client.reserve()
        copy = pickle.loads(pickle.dumps(job))
        assert (copy, type(copy)) == (job, Job)
        with pytest.raises(InvalidArgument, match="id"):
            copy.delete()
        client.delete(copy)
        with pytest.raises(NotFound):
            job.stats()


@pytest.mark.parametrize("bad", [-1, float("nan"), "5", [5]])
def test_a_bad_timeout_of_reserve_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidArgument):
        Client().reserve(bad)


@pytest.mark.parametrize("huge", [float("inf"), 2**63, 10**400], ids=["inf", "2**63", "10**400"])
def test_no_limits(beanstalkd: Beanstalkd, huge: Any) -> None:
    timing = Timing(hold_warning=float("inf"), close_timeout=float("inf"))
    options = {"connect_timeout": huge, "response_timeout": huge, "timing": timing}
    with client_of(beanstalkd, **options) as client:
        assert client.put(b"job") == 1
        assert client.reserve(5).id == 1
        assert len(client.put_many([bytes(60_000)] * 300)) == 300


def test_urls_and_unix_sockets(tmp_path: Any) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        client = Client.from_url(f"unix://{path}", connect_timeout=5)

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(100)
                sock.sendall(b"INSERTED 7\r\n")
                sock.recv(100)

        thread = Thread(answer)
        with client:
            assert client.put(b"x") == 7
        assert thread.end() is None
    for url in ("http://x", "beanstalk://h:x", "unix://"):
        with pytest.raises(InvalidArgument):
            Client.from_url(url)


def test_with_closes_after_an_error_too(server: AnyServer) -> None:
    with no_more_descriptors():
        with pytest.raises(ZeroDivisionError), client_of(server) as client:
            raise ZeroDivisionError
        assert client.closed()
        client.close()
        with client:
            assert client.put(b"x") == 1


def test_not_found_names_the_job_or_the_tube(server: AnyServer) -> None:
    with Client(server.host, server.port) as client:
        looks: list[tuple[Callable[[], object], str]] = [
            (lambda: client.peek(4711), "job 4711"),
            (lambda: client.delete(4711), "job 4711"),
            (lambda: client.stats_tube("nowhere"), "tube nowhere"),
            (client.peek_ready, "tube default"),
            (lambda: client.peek_buried(tube="a"), "tube a"),
        ]
        for look, name in looks:
            with pytest.raises(NotFound, match=name):
                look()
