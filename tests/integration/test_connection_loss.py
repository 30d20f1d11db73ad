"""What becomes of a client and its commands when the connection is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from beanstalkt import (
    BeanstalkException,
    Client,
    ConnectionLost,
    Job,
    NotFound,
    ReservationLost,
    TimedOut,
)
from beanstalkt.client import reconnecting
from beanstalkt.client.timing import Timing
from beanstalkt.client.transport import open_transport

from ..support.beanstalkd import Beanstalkd
from ..support.both import InThread, Kind
from ..support.clients import RECONNECT_DELAY, client_of
from ..support.embedded import AnyServer
from ..support.leftovers import nothing_left
from ..support.peer import Line, Peer
from ..support.ports import HOST, free_port
from ..support.proxy import Proxy
from ..support.waiting import until


async def hang_up(line: Line) -> None:
    pass


async def play(line: Line, conversation: str) -> None:
    """Alternately a command that must come and the reply to it, a line each."""
    lines = conversation.split(" / ")
    for command, reply in zip(lines[::2], lines[1::2], strict=True):
        await line.expect(command.encode())
        line.send(reply.encode() + b"\r\n")


async def lost(client: Client) -> None:
    """Wait until it has noticed the loss, which the blocking one does in a call."""
    if isinstance(client, InThread):
        with contextlib.suppress(ConnectionLost):
            await client.stats()
    await until(client.closed)


async def back(client: Client) -> None:
    """Wait until it is connected again, which the blocking one is only when it is told to."""
    if isinstance(client, InThread):
        await client.back()
    else:
        await until(lambda: not client.closed())


@contextlib.asynccontextmanager
async def replaced(*clients: Client) -> AsyncIterator[None]:
    """Waits at the end until each has another connection, however short it was without one."""
    restored = [asyncio.Event() for _ in clients]
    for client, event in zip(clients, restored, strict=True):
        client.set_reconnect_callback(event.set)
    yield
    for client, event in zip(clients, restored, strict=True):
        await asyncio.wait_for(event.wait(), 10)
        client.set_reconnect_callback(None)


# --- connecting ---


async def test_connect_before_there_is_a_server(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    server = Beanstalkd()
    client = client_of(server, kind)
    connecting = client.connect()
    await until(lambda: caplog.messages)
    assert not connecting.done()
    assert client.closed()
    await asyncio.to_thread(server.start)
    try:
        await connecting
        assert await client.put(b"job") == 1
        await client.close()
    finally:
        server.stop()


async def test_a_client_that_was_never_connected_says_what_to_do() -> None:
    client = Client()
    with pytest.raises(ConnectionLost, match=r"await connect\(\), or use 'async with'$") as caught:
        await client.put(b"x")
    assert not caught.value.sent


async def test_connect_gives_up_in_time_and_stops_trying(kind: Kind) -> None:
    port = free_port()
    async with nothing_left():
        client = kind(HOST, port, 0.1, reconnect_delay=RECONNECT_DELAY)
        with pytest.raises(ConnectionLost, match=f"{HOST}:{port} within 0.1 s: .*refused") as lost:
            await client.connect()
        assert not lost.value.sent
        assert client.closed()
    async with Peer(hang_up, port) as peer:
        await asyncio.sleep(10 * RECONNECT_DELAY)
        assert not peer.lines
        # It can be tried again.
        await client.connect()
        await until(lambda: peer.lines)
        await client.close()


async def test_connect_gives_up_in_time_when_nobody_answers(kind: Kind) -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind((HOST, 0))
        full.listen(0)
        while True:  # until the kernel takes no more
            sock = stack.enter_context(socket.socket())
            sock.settimeout(0.2)
            try:
                sock.connect(full.getsockname())
            except TimeoutError:
                break
        async with nothing_left():
            client = kind(HOST, full.getsockname()[1], 0.1)
            with pytest.raises(ConnectionLost, match=r"within 0\.1 s"):
                # Much sooner than one attempt may take.
                await asyncio.wait_for(client.connect(), 8)
            await client.close()


async def test_connect_for_ever_ends_with_close(kind: Kind) -> None:
    async with nothing_left():
        client = kind(HOST, free_port(), reconnect_delay=RECONNECT_DELAY)
        connecting = client.connect()
        await asyncio.sleep(3 * RECONNECT_DELAY)
        assert not connecting.done()
        await client.close()
        with pytest.raises(ConnectionLost, match="closed"):
            await connecting


async def test_a_cancelled_connect_stops_trying() -> None:
    async with nothing_left():
        client = Client(HOST, free_port(), reconnect_delay=RECONNECT_DELAY)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.connect(), 0.1)
        assert client.closed()


async def test_a_name_that_does_not_exist_is_tried_until_the_timeout(kind: Kind) -> None:
    client = kind("no-such-host.invalid", 11300, 0.1, reconnect_delay=RECONNECT_DELAY)
    with pytest.raises(ConnectionLost, match=r"no-such-host\.invalid"):
        await client.connect()
    assert asyncio.all_tasks() == {asyncio.current_task()}  # whoever hears of it may end the loop


async def test_a_timeout_in_a_pause_begins_no_attempt_that_was_due_as_well() -> None:
    client = Client(HOST, free_port(), 0.2, reconnect_delay=0.3)
    connecting = client.connect()
    await until(lambda: client._reconnector._pause is not None)
    time.sleep(0.5)  # the loop is kept until both the timeout and the next attempt are due
    with pytest.raises(ConnectionLost):
        await connecting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("beanstalkt.client.transport._resolve", resolve)
    client = Client("no-answer.invalid", 11300, 0.05)
    for _ in range(2):
        with pytest.raises(ConnectionLost, match="within"):
            await client.connect()
        assert asyncio.all_tasks() == {asyncio.current_task()}
    connecting = client.connect()
    await asyncio.sleep(0.01)  # on its way
    connecting.cancel()
    await client.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_two_may_wait_for_one_connection() -> None:
    server = Beanstalkd()
    client = client_of(server)
    first, second = client.connect(), client.connect()
    first.cancel()
    await asyncio.to_thread(server.start)
    try:
        await second
        await client.connect()  # already there
        assert server.ask(b"stats\r\n").startswith(b"OK")
        await client.close()
    finally:
        server.stop()


# --- connecting again ---


async def test_it_connects_again_by_itself(server: AnyServer) -> None:
    async with nothing_left():
        client = client_of(server)
        await client.connect()
        for _ in range(5):
            await client.put(b"job")
            await asyncio.to_thread(server.kill)
            await lost(client)
            await asyncio.to_thread(server.start)
            await back(client)
            assert await client.put(b"job") == 1
        await client.close()


async def test_it_waits_between_attempts_and_a_hang_up_is_a_failure() -> None:
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def script(line: Line) -> None:
        times.append(loop.time())

    async with Peer(script) as peer, Client(peer.host, peer.port, reconnect_delay=0.05):
        await until(lambda: len(times) == 8)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) > 0.9 * 0.05 - 0.01, gaps
    assert len({round(gap, 5) for gap in gaps}) > 3, "no jitter"


@pytest.mark.parametrize("pause", [0, RECONNECT_DELAY / 4])
async def test_a_peer_that_only_answers_the_replay_is_a_failure_too(pause: float) -> None:
    async def script(line: Line) -> None:
        await play(line, "use a / USING a")
        await asyncio.sleep(pause)

    async with Peer(script) as peer, client_of(peer) as client:
        with contextlib.suppress(ConnectionLost):
            await client.use("a")
        begin = asyncio.get_running_loop().time()
        await until(lambda: len(peer.lines) >= 10)
        assert asyncio.get_running_loop().time() - begin > 7 * 0.9 * RECONNECT_DELAY


async def test_the_delay_grows_only_when_asked_to() -> None:
    loop = asyncio.get_running_loop()
    async with Peer(hang_up) as peer:
        begin = loop.time()
        async with Client(peer.host, peer.port, reconnect_delay=0.1, max_reconnect_delay=0.4):
            await until(lambda: len(peer.lines) == 5)
        assert loop.time() - begin > 0.9 * (0.1 + 0.2 + 0.4 + 0.4)


async def test_after_a_success_the_delay_begins_anew() -> None:
    pauses: list[float] = []

    @dataclass(frozen=True)
    class Recorded(Timing):
        def delays(self) -> Iterator[float]:
            for pause in super().delays():
                pauses.append(pause)
                yield pause

    server = Beanstalkd()
    server.start()
    try:
        async with client_of(server, max_reconnect_delay=1, timing=Recorded()) as client:
            for _ in range(2):
                await client.put(b"job")
                pauses.clear()
                server.kill()
                await until(lambda: len(pauses) >= 3)
                assert pauses[0] < 1.2 * RECONNECT_DELAY
                assert pauses[2] > 3 * RECONNECT_DELAY
                server.start()
                await back(client)
    finally:
        server.stop()


# --- warnings ---


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one with each attempt to connect."""
    counted: list[None] = []

    def counting(*arguments: Any) -> Any:
        counted.append(None)
        return open_transport(*arguments)

    monkeypatch.setattr(reconnecting, "open_transport", counting)
    return counted


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "beanstalkt" and record.levelno == logging.WARNING
    ]


async def test_the_loss_and_the_first_failed_attempt_are_told(
    server: AnyServer, caplog: pytest.LogCaptureFixture, attempts: list[None]
) -> None:
    async with client_of(server) as client:
        for _ in range(2):
            await client.put(b"job")
            caplog.clear()
            attempts.clear()
            server.kill()
            await until(lambda: len(attempts) >= 6)
            loss, attempt = warnings(caplog)
            address = f"{server.host}:{server.port}"
            assert address in loss
            assert "lost" in loss
            assert "closed" in loss
            assert address in attempt
            assert "refused" in attempt.lower()
            server.start()
            await back(client)


async def test_a_server_that_stays_away_is_told_of_again(
    server: AnyServer,
    caplog: pytest.LogCaptureFixture,
    attempts: list[None],
) -> None:
    assert Timing().warning_interval == 60
    async with client_of(server, timing=Timing(warning_interval=0.1)) as client:
        await client.put(b"job")
        server.kill()
        await until(lambda: len(warnings(caplog)) >= 4)
        assert len(attempts) > 5


async def test_each_connect_tells_of_its_first_failure(
    caplog: pytest.LogCaptureFixture, attempts: list[None]
) -> None:
    client = Client(HOST, free_port(), reconnect_delay=RECONNECT_DELAY)
    for number in (1, 2):
        connecting = client.connect()
        attempts.clear()
        await until(lambda: len(attempts) >= 4)
        await client.close()
        assert isinstance(connecting.exception(), ConnectionLost)
        assert len(warnings(caplog)) == number


async def test_hanging_up_is_not_told_each_time(caplog: pytest.LogCaptureFixture) -> None:
    async with Peer(hang_up) as peer, client_of(peer):
        await until(lambda: len(peer.lines) == 8)
    assert 1 <= len(warnings(caplog)) <= 2


# --- replay ---


async def test_the_tubes_are_restored_before_anything_else(server: AnyServer) -> None:
    restored = asyncio.Event()
    async with client_of(server) as client:
        client.set_reconnect_callback(restored.set)
        await client.use("used")
        for name in ("a", "b", "c"):
            await client.watch(name)
        await client.ignore("default")
        await client.ignore("b")
        server.restart()
        await restored.wait()
        assert await client.list_tube_used() == client.using == "used"
        assert set(await client.list_tubes_watched()) == client.watching == {"a", "c"}


async def test_the_order_of_the_replay_the_callback_and_what_waits() -> None:
    conversations = [
        "use x / USING x / watch y / WATCHING 2 / ignore default / WATCHING 1",
        "use x / USING x / watch y / WATCHING 2 / ignore default / WATCHING 1 / touch 7 / TOUCHED",
    ]
    done = asyncio.Event()

    async def script(line: Line) -> None:
        conversation = conversations.pop(0)
        await play(line, conversation)
        await line.expect(b"reserve")
        if not conversations:
            done.set()
            await line.end()

    async with Peer(script) as peer, client_of(peer) as client:
        client.set_reconnect_callback(lambda: client.touch(7))
        await asyncio.gather(client.use("x"), client.watch("y"), client.ignore("default"))
        reserve = client.reserve()
        await done.wait()
        assert client.using == "x"
        assert client.watching == {"y"}
        reserve.cancel()


async def test_what_was_not_granted_is_not_restored() -> None:
    conversations = [
        "use a / USING a / watch a / WATCHING 2",
        "use a / USING a / watch a / WATCHING 2 / list-tube-used / USING a",
    ]

    async def script(line: Line) -> None:
        last = len(conversations) == 1
        await play(line, conversations.pop(0))
        if last:
            await line.end()
        else:
            await line.expect(b"use b", b"watch b", b"ignore a")

    async with Peer(script) as peer, client_of(peer) as client:
        await asyncio.gather(client.use("a"), client.watch("a"))
        pending = (client.use("b"), client.watch("b"), client.ignore("a"))
        for outcome in await asyncio.gather(*pending, return_exceptions=True):
            assert isinstance(outcome, ConnectionLost)
        await back(client)
        assert await client.list_tube_used() == "a"
        assert client.using == "a"
        assert client.watching == {"a", "default"}


async def test_a_tube_that_was_not_granted_is_not_taken_for_the_one_in_use(kind: Kind) -> None:
    async def script(line: Line) -> None:
        if len(peer.lines) == 1:
            await line.expect(b"use a")
            return
        await line.expect(b"use a", b"put 2147483648 0 120 1\r\nx", b"use default")
        line.send(b"USING a\r\nINSERTED 7\r\nUSING default\r\n")
        await line.end()

    async with Peer(script) as peer:
        client = kind(peer.host, peer.port, reconnect_delay=RECONNECT_DELAY)
        await client.connect()
        with pytest.raises(ConnectionLost):
            await client.use("a")
        await back(client)
        assert await asyncio.wait_for(client.put(b"x", tube="a"), 10) == 7
        assert client.using == "default"
        await client.close()


@pytest.mark.parametrize("answer", [b"", b"INTERNAL_ERROR\r\n", b"USING other x\r\n", b"USI"])
async def test_a_replay_that_fails_is_repeated(answer: bytes) -> None:
    timing = Timing(attempt_timeout=0.1)
    calls: list[int] = []

    async def script(line: Line) -> None:
        number = len(peer.lines)
        await line.expect(b"use x")
        if number in (2, 3, 4):
            line.send(answer)
        else:
            line.send(b"USING x\r\n")
            await line.expect(b"delete 1")
            if number == 5:
                line.send(b"DELETED\r\n")
            else:
                return  # hangs up
        await line.end()

    async with nothing_left(), Peer(script) as peer, client_of(peer, timing=timing) as client:
        client.set_reconnect_callback(lambda: calls.append(len(peer.lines)))
        await client.use("x")
        with pytest.raises(ConnectionLost):
            await client.delete(1)
        while len(peer.lines) < 5:
            assert client.closed()
            with pytest.raises(ConnectionLost) as error:
                await client.delete(1)
            assert not error.value.sent
            await asyncio.sleep(0.01)
        await back(client)
        await client.delete(1)
        assert calls == [5]
        assert client.using == "x"


async def test_the_tubes_are_kept_over_close(server: AnyServer) -> None:
    client = client_of(server)
    await client.connect()
    await client.use("used")
    await client.watch("watched")
    await client.close()
    await client.connect()
    assert await client.list_tube_used() == client.using
    assert set(await client.list_tubes_watched()) == client.watching
    await client.close()


# --- the reconnect callback ---


async def test_the_callback_is_called_each_time_and_not_for_the_first(
    server: AnyServer,
) -> None:
    calls: list[bool] = []
    async with client_of(server) as client:
        client.set_reconnect_callback(lambda: calls.append(client.closed()))
        await client.put(b"job")
        assert not calls
        for number in (1, 2, 3):
            server.restart()
            await until(lambda: len(calls) == number)  # noqa: B023
            await client.put(b"job")
        client.set_reconnect_callback(None)
        server.kill()
        await lost(client)
        server.start()
        await back(client)
    assert calls == [False] * 3


async def test_a_callback_that_raises_breaks_nothing(server: AnyServer) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def bad() -> None:
        raise RuntimeError("the callback's own fault")

    async with client_of(server) as client:
        client.set_reconnect_callback(bad)
        reserve = client.reserve()
        server.restart()
        await until(lambda: reported)
        async with client_of(server) as other:
            await other.put(b"job")
        assert (await reserve).body == b"job"
    assert len(reported) == 1
    assert "own fault" in str(reported[0]["exception"])


async def test_the_callback_may_be_a_coroutine_function(server: AnyServer) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    ids: list[int] = []

    async def callback() -> None:
        ids.append(await client.put(b"job"))
        raise RuntimeError("late")

    async with client_of(server) as client:
        client.set_reconnect_callback(callback)
        await client.put(b"job")
        await client.put(b"job")
        server.restart()
        await until(lambda: reported)
    assert ids == [1]
    assert "late" in str(reported[0])


# --- what was pending ---


async def test_what_the_socket_took_was_sent() -> None:
    async def script(line: Line) -> None:
        for _ in range(3):
            await line.command()
        line.reset()

    async with Peer(script) as peer, client_of(peer) as client:
        puts = [client.put(b"job") for _ in range(3)]
        for outcome in await asyncio.gather(*puts, return_exceptions=True):
            assert isinstance(outcome, ConnectionLost)
            assert not isinstance(outcome, ReservationLost)
            assert outcome.sent
            assert outcome.command == "put"
            assert str(outcome)


async def test_what_is_held_was_not_sent() -> None:
    async def script(line: Line) -> None:
        await line.expect(b"reserve")
        if len(peer.lines) == 1:
            await gone.wait()
            line.reset()
        else:
            line.send(b"RESERVED 1 0\r\n\r\n")
        await line.end()

    gone = asyncio.Event()
    async with Peer(script) as peer, client_of(peer) as client:
        reserve = client.reserve()
        held: list[Awaitable[Any]] = [
            client.put(b"job"),
            client.delete(7),
            client.put(b"job", tube="x"),
            client.stats(),
        ]
        await until(lambda: peer.lines and peer.lines[0].commands)
        gone.set()
        for each in held:
            with pytest.raises(ConnectionLost) as error:
                await each
            assert not error.value.sent
        assert await reserve == {"id": 1, "body": b""}
        assert peer.lines[0].commands == peer.lines[1].commands == [b"reserve"]


async def test_what_had_not_been_flushed_was_not_sent() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        async with Client(HOST, port, reconnect_delay=RECONNECT_DELAY) as client:
            server, _ = listener.accept()
            # All in one turn: the second one leaves at its end, and nobody is there then.
            puts = [client.put(b"job"), client.put(b"job")]
            server.recv(100)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            server.close()
            outcomes = await asyncio.gather(*puts, return_exceptions=True)
            assert [getattr(outcome, "sent", None) for outcome in outcomes] == [True, False]


async def test_what_waits_behind_a_stalled_write_was_not_sent() -> None:
    async def script(line: Line) -> None:
        await line.reader.readline()
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await gone.wait()
        line.reset()

    gone = asyncio.Event()
    async with Peer(script) as peer, client_of(peer) as client:
        big, small = client.put(bytes(30_000_000)), client.put(b"job")
        await until(lambda: peer.lines)
        await asyncio.sleep(0.05)
        gone.set()
        with pytest.raises(ConnectionLost) as error:
            await big
        assert error.value.sent
        with pytest.raises(ConnectionLost) as error:
            await small
        assert not error.value.sent


async def test_put_many_tells_what_is_known(kind: Kind) -> None:
    async def script(line: Line) -> None:
        for number in (1, 2, 3):
            await line.command()
            line.send(b"INSERTED %d\r\n" % number)
        await line.command()

    async with Peer(script) as peer, client_of(peer, kind) as client:
        with pytest.raises(ConnectionLost) as error:
            await client.put_many(b"job" for _ in range(1_000_000))
        assert error.value.ids is not None
        assert error.value.ids[:4] == [1, 2, 3, None]
        assert error.value.sent
        assert not any(error.value.ids[3:])


# --- while there is no connection ---


VERBS: list[Callable[[Client], Awaitable[Any]]] = [
    lambda client: client.put(b"job"),
    lambda client: client.put(b"job", tube="other"),
    lambda client: client.put_many([b"job"]),
    lambda client: client.use("x"),
    lambda client: client.watch("x"),
    lambda client: client.ignore("x"),
    lambda client: client.reserve(),
    lambda client: client.reserve(0),
    lambda client: client.reserve(5),
    lambda client: client.reserve_job(1),
    lambda client: client.delete(1),
    lambda client: client.release(1),
    lambda client: client.release(1, None),
    lambda client: client.bury(1),
    lambda client: client.touch(1),
    lambda client: client.peek(1),
    lambda client: client.peek_ready(),
    lambda client: client.kick(),
    lambda client: client.kick_job(1),
    lambda client: client.stats(),
    lambda client: client.stats_job(1),
    lambda client: client.list_tubes(),
    lambda client: client.pause_tube("x", 1),
]


@pytest.mark.parametrize("when", ["before connect", "while connecting", "lost", "closed"])
async def test_a_command_without_a_connection_fails_at_once(when: str, server: AnyServer) -> None:
    client = client_of(server)
    if when == "while connecting":
        server.stop()
        connecting = client.connect()
    elif when != "before connect":
        await client.connect()
        await client.put(b"job")
    if when == "lost":
        server.stop()
        await lost(client)
    if when == "closed":
        await client.close()
    for verb in VERBS:
        with pytest.raises(ConnectionLost, match="no connection") as error:
            await asyncio.wait_for(verb(client), 5)
        assert isinstance(error.value, OSError)
        assert not error.value.sent
    outcomes: list[object] = []
    client.put(b"job", callback=outcomes.append)
    await until(lambda: outcomes)
    assert isinstance(outcomes[0], ConnectionLost)
    assert client.using == "default"
    assert client.watching == {"default"}
    await client.close()
    if when == "while connecting":
        assert isinstance(connecting.exception(), ConnectionLost)


# --- waiting reserves ---


async def test_waiting_reserves_go_on(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        reserves = [client.reserve(), client.reserve(100), client.reserve(), client.reserve(1000)]
        await other.put(b"0")
        job = await reserves[0]
        for _ in range(3):
            async with replaced(client, other):
                server.restart()
        await other.put_many([b"1", b"2", b"3"])
        for body in (b"1", b"2", b"3"):
            job = await reserves[int(body)]
            assert job.body == body
            await job.delete()  # it belongs to the connection of now
        with pytest.raises(NotFound):
            await client.peek_ready()


async def test_a_reserve_that_does_not_wait_is_lost() -> None:
    async def script(line: Line) -> None:
        await line.command()
        await line.command()

    async with Peer(script) as peer, client_of(peer) as client:
        pending = [client.reserve(0), client.reserve_job(1)]
        for outcome in await asyncio.gather(*pending, return_exceptions=True):
            assert isinstance(outcome, ConnectionLost)
            assert outcome.sent


async def test_a_held_reserve_goes_on_too(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        reserve, held, second = client.reserve(), client.put(b"held"), client.reserve()
        async with replaced(client, other):
            server.restart()
        assert isinstance(held.exception(), ConnectionLost)
        await other.put_many([b"1", b"2"])
        assert [(await each).body for each in (reserve, second)] == [b"1", b"2"]


async def test_only_what_is_left_of_the_timeout_is_asked_for() -> None:
    async def script(line: Line) -> None:
        if len(peer.lines) == 1:
            await line.expect(b"reserve-with-timeout 3", b"reserve-with-timeout 100", b"reserve")
            await asyncio.sleep(1.1)
            return
        await line.expect(b"reserve-with-timeout 2", b"reserve-with-timeout 99", b"reserve")
        line.send(b"RESERVED 1 0\r\n\r\nTIMED_OUT\r\nDEADLINE_SOON\r\n")
        await line.end()

    async with Peer(script) as peer, client_of(peer) as client:
        reserves = [client.reserve(3), client.reserve(100), client.reserve()]
        outcomes = await asyncio.gather(*reserves, return_exceptions=True)
    assert outcomes[0] == {"id": 1, "body": b""}
    assert isinstance(outcomes[1], TimedOut)


async def test_a_timeout_that_ends_without_a_connection(server: AnyServer) -> None:
    async with nothing_left(), client_of(server) as client:
        reserves = [client.reserve(1), client.reserve()]
        await asyncio.sleep(0.01)
        server.kill()
        await lost(client)
        assert not reserves[0].done()
        with pytest.raises(TimedOut) as error:
            await reserves[0]
        assert error.value.command == "reserve-with-timeout"
        assert client.closed()
        assert not reserves[1].done()
        await client.close()
        with pytest.raises(ConnectionLost):
            await reserves[1]


async def test_a_reserve_cancelled_without_a_connection_is_not_asked_for_again(
    server: AnyServer,
) -> None:
    async with nothing_left(), client_of(server) as client:
        reserves = [client.reserve(), client.reserve(20)]
        await asyncio.sleep(0.01)
        server.kill()
        await lost(client)
        for reserve in reserves:
            reserve.cancel()
        server.start()
        await back(client)
        assert (await client.stats())["current-waiting"] == 0
        assert await client.put(b"job") == 1
        assert (await client.stats_job(1))["reserves"] == 0


# --- jobs of a connection that is gone ---


SETTLING: list[Callable[[Client, Job], Awaitable[None]]] = [
    lambda client, job: job.delete(),
    lambda client, job: job.release(),
    lambda client, job: job.release(None),
    lambda client, job: job.bury(),
    lambda client, job: job.bury(None),
    lambda client, job: job.touch(),
    lambda client, job: client.delete(job),
    lambda client, job: client.release(job),
    lambda client, job: client.release(job, priority=None),
    lambda client, job: client.bury(job),
    lambda client, job: client.bury(job, priority=None),
    lambda client, job: client.touch(job),
]


async def all_lost(client: Client, job: Job) -> None:
    for settle in SETTLING:
        with pytest.raises(ReservationLost) as error:
            await settle(client, job)
        assert not error.value.sent
        assert error.value.command in ("delete", "release", "bury", "touch")


async def test_a_job_of_a_lost_connection_is_not_settled(kind: Kind, server: AnyServer) -> None:
    async with Proxy(server.host, server.port) as proxy, client_of(proxy, kind) as client:
        await client.put(b"old")
        job = await client.reserve()
        await proxy.refuse()
        await lost(client)
        await all_lost(client, job)
        server.restart()
        await proxy.listen()
        await back(client)
        assert await client.put(b"somebody else's") == job.id
        said = len(proxy.up.passed)
        await all_lost(client, job)
        if not isinstance(client, InThread):
            outcomes: list[object] = []
            job.delete(callback=outcomes.append)
            await until(lambda: outcomes)
            assert isinstance(outcomes[0], ReservationLost)
        await client.use("x")
        assert proxy.up.passed[said:] == b"use x\r\n"
        # An id as such is the caller's business.
        await client.delete(job.id)


async def test_so_it_is_over_close_and_connect(kind: Kind, server: AnyServer) -> None:
    client = client_of(server, kind)
    await client.connect()
    await client.put(b"job")
    job = await client.reserve()
    await client.close()
    await all_lost(client, job)
    await client.connect()
    await all_lost(client, job)
    again = await client.reserve()
    await again.delete()
    await client.close()


async def test_a_job_that_was_only_looked_at_belongs_to_nobody(server: AnyServer) -> None:
    async with Proxy(server.host, server.port) as proxy, client_of(proxy) as client:
        await client.put(b"job")
        job = await client.peek_ready()
        async with replaced(client):
            await proxy.cut()
        await job.delete()


async def test_settling_that_was_under_way_is_lost_with_sent(kind: Kind) -> None:
    async def script(line: Line) -> None:
        if len(peer.lines) == 1:
            await line.expect(b"reserve")
            line.send(b"RESERVED 1 0\r\n\r\n")
            await line.expect(b"delete 1")
        else:
            await line.end()

    async with Peer(script) as peer, client_of(peer, kind) as client:
        job = await client.reserve()
        with pytest.raises(ConnectionLost) as error:
            await job.delete()
        assert not isinstance(error.value, ReservationLost)
        assert error.value.sent


async def test_a_loop_over_jobs_goes_on(server: AnyServer) -> None:
    bodies: list[bytes] = []

    async def work(client: Client) -> None:
        async for job in client.jobs():
            bodies.append(job.body)
            with contextlib.suppress(BeanstalkException):
                await job.delete()
            if job.body == b"end":
                return

    async with client_of(server) as client, client_of(server) as other:
        working = asyncio.ensure_future(work(client))
        for number in range(3):
            await other.put(b"%d" % number)
            await until(lambda: len(bodies) == number + 1)  # noqa: B023
            async with replaced(client, other):
                server.restart()
        await other.put(b"end")
        await working
    assert bodies == [b"0", b"1", b"2", b"end"]


# --- a peer that is silently gone ---


def sockets_to(port: int) -> list[socket.socket]:
    """Return copies of this process's sockets that are connected to `port`."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            sock = socket.socket(fileno=os.dup(int(name)))
            try:
                to_port = sock.getpeername()[1:2] == (port,)
            except OSError:  # it is not connected
                to_port = False
            if to_port:
                found.append(sock)
            else:
                sock.close()
    return found


async def test_the_kernel_looks_whether_the_peer_is_there(apart: Beanstalkd) -> None:
    async with client_of(apart):
        (sock,) = sockets_to(apart.port)
        with sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            interval = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
            count = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
            assert idle + interval * count <= 180
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 180_000
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_signal_ends_the_server_in_order(server: AnyServer) -> None:
    async with client_of(server) as client:
        await client.put(b"job")
        async with replaced(client):
            server.restart(signal.SIGTERM)
        assert await client.put(b"job") == 1
