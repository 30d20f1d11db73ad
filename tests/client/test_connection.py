"""One connection against a scripted peer: what no real server does."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

import beanstalkt
from beanstalkt import Client
from beanstalkt.errors import BeanstalkException

from ..support.clients import client_of
from ..support.peer import Line, Peer, Script
from ..support.waiting import until

PUT = b"put 2147483648 0 120 1\r\nx"


def answering(reply: bytes) -> Script:
    """Answers each command on the first connection with `reply`."""

    async def play(line: Line) -> None:
        while True:
            await line.command()
            line.send(reply)

    return play


async def failure(awaitable: Awaitable[Any]) -> BeanstalkException:
    with pytest.raises(BeanstalkException) as caught:
        await asyncio.wait_for(awaitable, 5)
    return caught.value


# --- what is no reply at all ----------------------------------------------------------------

GARBAGE = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\r\n",
    b" \r\n",
    b"\x00\xff\xfe\r\n",
    b"inserted 1\r\n",
    b"INSERTED\r\n",
    b"INSERTED \r\n",
    b"INSERTED x\r\n",
    b"INSERTED -1\r\n",
    b"INSERTED 1 2\r\n",
    b"INSERTED  1\r\n",
    b"INSERTED 1 \r\n",
    b"INSERTED 1\n\r\n",
    "INSERTED \N{ARABIC-INDIC DIGIT ONE}\r\n".encode(),
    b"DELETED\r\n",
    b"NOT_FOUND\r\n",
    b"TIMED_OUT\r\n",
    b"RESERVED 1 1\r\nx\r\n",
    b"OK 99999999999\r\n",
    b"OK 18446744073709551616\r\n",
    b"OK -1\r\n",
    b"OK\r\n",
    b"OK x\r\n",
    b"OK 2\r\nabXY",
    b"x" * 5000,
    b"INSERTED " + b"1" * 5000,
]


@pytest.mark.parametrize("reply", GARBAGE, ids=range(len(GARBAGE)))
async def test_what_is_no_reply_to_put_ends_the_connection(reply: bytes) -> None:
    async with Peer(answering(reply)) as peer, client_of(peer) as client:
        puts = [client.put(b"x") for _ in range(3)]
        error = await failure(puts[0])
        assert isinstance(error, beanstalkt.UnexpectedResponse)
        assert error.command == "put"
        for put in puts[1:]:
            lost = await failure(put)
            assert isinstance(lost, beanstalkt.ConnectionLost)
            assert lost.sent
            # It says why.
            assert str(error).split(": ")[-1][:30] in str(lost)
            assert lost.__cause__ is error


@pytest.mark.parametrize("reply", GARBAGE, ids=range(len(GARBAGE)))
async def test_what_is_no_reply_to_put_ends_one_put_and_many(
    reply: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """One put alone is read in another way than several, and those of put_many in a third."""
    async with Peer(answering(reply)) as peer, client_of(peer) as client:
        error = await failure(client.put(b"x"))
        assert isinstance(error, beanstalkt.UnexpectedResponse)
    async with Peer(answering(reply)) as peer, client_of(peer) as client:
        error = await failure(client.put_many([b"x"] * 300))
        assert isinstance(error, beanstalkt.UnexpectedResponse)
        assert set(error.ids or ()) == {None}
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("start", "reply"),
    [
        (lambda c: c.reserve(), b"RESERVED 1\r\nx\r\n"),
        (lambda c: c.reserve(), b"RESERVED x 1\r\nx\r\n"),
        (lambda c: c.reserve(), b"RESERVED 1 99999999999\r\n"),
        (lambda c: c.reserve(), b"RESERVED 1 1\r\nxyz"),
        (lambda c: c.reserve(), b"RESERVED 1 1 1\r\nx\r\n"),
        (lambda c: c.reserve(), b"FOUND 1 1\r\nx\r\n"),
        (lambda c: c.reserve_job(1), b"TIMED_OUT\r\n"),
        (lambda c: c.peek(1), b"RESERVED 1 1\r\nx\r\n"),
        (lambda c: c.delete(1), b"BURIED\r\n"),
        (lambda c: c.delete(1), b"DELETED 1\r\n"),
        (lambda c: c.touch(1), b"NOT_IGNORED\r\n"),
        (lambda c: c.kick(1), b"KICKED\r\n"),
        (lambda c: c.kick_job(1), b"KICKED 1\r\n"),
        (lambda c: c.use("a"), b"USING\r\n"),
        (lambda c: c.use("a"), b"USING \xff\r\n"),
        (lambda c: c.watch("a"), b"WATCHING x\r\n"),
        (lambda c: c.ignore("a"), b"NOT_FOUND\r\n"),
        (lambda c: c.stats(), b"OK 0\r\n\r\n"),
        (lambda c: c.stats(), b"OK 7\r\n---\n- a\r\n"),
        (lambda c: c.stats(), b"OK 12\r\n---\ntotal-jo\r\n"),
        (lambda c: c.stats_job(1), b"OK 10\r\n---\npri: x\r\n"),
        (lambda c: c.stats_job(1), b"OK 9\r\n---\npri: \r\n"),
        (lambda c: c.list_tubes(), b"OK 8\r\n---\na: b\r\n"),
        (lambda c: c.list_tubes(), b"OK 5\r\nabcde\r\n"),
        (lambda c: c.pause_tube("a", 1), b"TOUCHED\r\n"),
    ],
    ids=range(25),
)
async def test_a_reply_of_the_wrong_kind(
    start: Callable[[Client], Awaitable[Any]], reply: bytes
) -> None:
    async with Peer(answering(reply)) as peer, client_of(peer) as client:
        error = await failure(start(client))
        assert isinstance(error, beanstalkt.UnexpectedResponse)
        assert error.command


async def test_replies_that_nobody_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    greeted = asyncio.Event()

    async def play(line: Line) -> None:
        if len(peer.lines) == 1:
            line.send(b"INSERTED 1\r\n")
        else:
            greeted.set()
        await line.end()

    async with Peer(play) as peer, client_of(peer) as client:
        await asyncio.wait_for(greeted.wait(), 5)
        await client.connect()
        assert client.using == "default"
    messages = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(messages) == 1
    assert "INSERTED 1" in messages[0]
    assert "no command was waiting" in messages[0]


async def test_one_reply_too_many_behind_a_right_one() -> None:
    async with Peer(answering(b"INSERTED 1\r\nINSERTED 2\r\n")) as peer, client_of(peer) as client:
        assert await client.put(b"x") == 1
        assert isinstance(await failure(client.put(b"y")), beanstalkt.ConnectionLost)


async def test_the_replies_in_front_of_garbage_count() -> None:
    async def play(line: Line) -> None:
        await line.expect(PUT, PUT, PUT)
        line.send(b"INSERTED 1\r\nINSERTED 2\r\n?\r\n")
        await line.end()

    async with Peer(play) as peer, client_of(peer) as client:
        puts = [client.put(b"x") for _ in range(3)]
        assert [await puts[0], await puts[1]] == [1, 2]
        error = await failure(puts[2])
        assert isinstance(error, beanstalkt.UnexpectedResponse)
        assert (error.command, error.status) == ("put", "?")


async def test_a_body_without_its_end_waits_for_the_rest() -> None:
    """And when the connection ends in the middle of it, the job was not received."""

    async def play(line: Line) -> None:
        await line.expect(b"peek 1")
        line.send(b"FOUND 1 1000\r\nabc")

    async with Peer(play) as peer, client_of(peer) as client:
        error = await failure(client.peek(1))
        assert isinstance(error, beanstalkt.ConnectionLost)
        assert error.sent


@pytest.mark.parametrize("block", [b"x" * 65536, b"RESERVED 1 99999999999\r\n" + b"x" * 65536])
async def test_memory_does_not_grow_with_what_a_peer_sends(block: bytes) -> None:
    """Endless lines, endless bodies: the connection is closed instead."""
    sent = 0

    async def play(line: Line) -> None:
        nonlocal sent
        with suppress(EOFError):
            await line.command()
        while sent < 400 * len(block):
            line.send(block)
            sent += len(block)
            await line.writer.drain()

    async with Peer(play) as peer, client_of(peer) as client:
        tracemalloc.start()
        try:
            error = await failure(client.peek(1))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert isinstance(error, beanstalkt.UnexpectedResponse)
        assert peak < 10_000_000


async def test_everything_pending_fails_with_the_reason() -> None:
    async def play(line: Line) -> None:
        await line.expect(b"reserve")
        line.send(b"nonsense\r\n")
        await line.end()

    async with Peer(play) as peer, client_of(peer) as client:
        reserve = client.reserve()
        held: list[asyncio.Future[Any]] = [
            client.put(b"x"),
            client.use("a"),
            client.put(b"x", tube="b"),
            client.put_many([b"y"] * 1000),
            client.release(1, None),
            client.stats(),
        ]
        error = await failure(reserve)
        assert isinstance(error, beanstalkt.UnexpectedResponse)
        for each in held:
            lost = await failure(each)
            assert isinstance(lost, beanstalkt.ConnectionLost)
            assert "nonsense" in str(lost)
            assert lost.sent is False
        assert client.using == "default"


# --- what a server says when it cannot ------------------------------------------------------


def release(client: Client) -> Awaitable[None]:
    return client.release(5)


def put(client: Client) -> Awaitable[int]:
    return client.put(b"x")


def bury(client: Client) -> Awaitable[None]:
    return client.bury(5)


def stats(client: Client) -> Awaitable[object]:
    return client.stats()


def use(client: Client) -> Awaitable[str]:
    return client.use("a")


def watch(client: Client) -> Awaitable[int]:
    return client.watch("a")


@pytest.mark.parametrize(
    ("start", "reply", "kind", "values"),
    [
        (put, b"BURIED 17", beanstalkt.Buried, ("17",)),
        (put, b"BURIED", beanstalkt.Buried, ()),
        (release, b"BURIED", beanstalkt.Buried, ()),
        (put, b"OUT_OF_MEMORY", beanstalkt.OutOfMemory, ()),
        (release, b"OUT_OF_MEMORY", beanstalkt.OutOfMemory, ()),
        (watch, b"OUT_OF_MEMORY", beanstalkt.OutOfMemory, ()),
        (bury, b"INTERNAL_ERROR", beanstalkt.InternalError, ()),
        (stats, b"INTERNAL_ERROR", beanstalkt.InternalError, ()),
        (put, b"JOB_TOO_BIG", beanstalkt.JobTooBig, ()),
        (put, b"DRAINING", beanstalkt.Draining, ()),
        (stats, b"BAD_FORMAT", beanstalkt.BadFormat, ()),
        (stats, b"UNKNOWN_COMMAND", beanstalkt.UnknownCommand, ()),
        (use, b"OUT_OF_MEMORY", beanstalkt.OutOfMemory, ()),
    ],
)
async def test_a_refusal_fails_one_command_and_the_connection_goes_on(
    start: Callable[[Client], Awaitable[object]],
    reply: bytes,
    kind: type[BeanstalkException],
    values: tuple[str, ...],
) -> None:
    async def play(line: Line) -> None:
        await line.command()
        line.send(reply + b"\r\n")
        await line.expect(PUT)
        line.send(b"INSERTED 18\r\n")
        await line.end()

    async with Peer(play) as peer, client_of(peer) as client:
        error = await failure(start(client))
        assert type(error) is kind
        assert error.command == start.__name__
        assert error.status == reply.split()[0].decode()
        assert error.values == values
        if isinstance(error, beanstalkt.Buried):
            assert error.job_id == (17 if values else None)
        assert await client.put(b"x") == 18
        assert [client.using, *client.watching] == ["default"] * 2
        assert len(peer.lines) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"EXPECTED_CRLF", beanstalkt.ExpectedCrlf),
        (b"BAD_FORMAT", beanstalkt.BadFormat),
        (b"UNKNOWN_COMMAND", beanstalkt.UnknownCommand),
    ],
)
async def test_a_put_that_was_misread_ends_the_connection(
    reply: bytes, kind: type[BeanstalkException]
) -> None:
    """What follows would run as commands."""

    async def play(line: Line) -> None:
        await line.command()
        if len(peer.lines) == 1:
            line.send(reply + b"\r\n")
        else:
            line.send(b"INSERTED 2\r\n")
        await line.end()

    async with Peer(play) as peer, client_of(peer) as client:
        first, second = client.put(b"x"), client.put(b"y")
        error = await failure(first)
        assert type(error) is kind
        assert (error.command, error.status) == ("put", reply.decode())
        assert isinstance(await failure(second), beanstalkt.ConnectionLost)
        await client.connect()
        assert await asyncio.wait_for(client.put(b"x"), 5) == 2


async def test_a_tube_that_cannot_be_switched_back_ends_the_connection() -> None:
    async def play(line: Line) -> None:
        await line.expect(b"use t", PUT, b"use default")
        if len(peer.lines) == 1:
            line.send(b"USING t\r\nINSERTED 1\r\nOUT_OF_MEMORY\r\n")
        await line.end()

    async with Peer(play) as peer, client_of(peer) as client:
        put, after = client.put(b"x", tube="t"), client.put(b"x")
        assert await put == 1
        assert isinstance(await failure(after), beanstalkt.ConnectionLost)


async def test_the_priority_that_is_to_be_kept_is_missing() -> None:
    async def play(line: Line) -> None:
        for reply in (b"---\n", b"---\npri: -5\n", b"---\npri: 4294967296\n"):
            await line.expect(b"stats-job 5")
            line.send(b"OK %d\r\n%b\r\n" % (len(reply), reply))
        await line.expect(PUT)
        line.send(b"INSERTED 1\r\n")
        await line.end()

    async with Peer(play) as peer, client_of(peer) as client:
        for verb in (client.release, client.bury, client.release):
            error = await failure(verb(5, None))
            assert isinstance(error, beanstalkt.UnexpectedResponse)
        assert await client.put(b"x") == 1


# --- how replies arrive ---------------------------------------------------------------------


async def test_replies_byte_by_byte() -> None:
    async def play(line: Line) -> None:
        await line.expect(PUT, b"peek 1", b"stats-tube t")
        for byte in b"INSERTED 1\r\nFOUND 1 4\r\n\r\nab\r\nOK 12\r\n---\nname: t\n\r\n":
            line.send(bytes([byte]))
            await line.writer.drain()
            await asyncio.sleep(0)
        await line.end()

    async with Peer(play) as peer, client_of(peer) as client:
        put, peek, stats = client.put(b"x"), client.peek(1), client.stats_tube("t")
        assert await asyncio.wait_for(put, 5) == 1
        assert await asyncio.wait_for(peek, 5) == {"id": 1, "body": b"\r\nab"}
        assert dict(await asyncio.wait_for(stats, 5)) == {"name": "t"}


async def test_a_body_of_many_megabytes() -> None:
    body = bytes(range(256)) * 4096 * 20  # 20 MiB

    async def play(line: Line) -> None:
        while True:
            command = await line.command()
            if command == b"peek 1":
                line.send(b"FOUND 1 %d\r\n" % len(body))
                line.send(body + b"\r\n")
            else:
                assert command.partition(b"\r\n")[2] == body
                line.send(b"INSERTED 1\r\n")

    async with Peer(play) as peer, client_of(peer) as client:
        puts, peek = [client.put(body), client.put(body)], client.peek(1)
        assert await asyncio.gather(*puts) == [1, 1]
        assert (await peek).body == body


async def test_the_last_reply_to_put_many_is_read_when_it_comes() -> None:
    """Replies to put_many are read in bulk, and the last one is not to wait for more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Client(*listener.getsockname())
        await client.connect()
        peer, _ = listener.accept()
        loop = asyncio.get_running_loop()
        try:
            many = client.put_many([b"x"] * 100)
            # These come when the loop has looked at its sockets, but not at its timers.
            replies = [b"INSERTED %d\r\n" % number for number in range(1, 101)]
            loop.call_later(0.0005, peer.sendall, b"".join(replies[:99]))
            time.sleep(0.01)  # both timers are to be due in one turn
            loop.call_later(0.05, peer.sendall, replies[99])
            assert await asyncio.wait_for(many, 5) == list(range(1, 101))
        finally:
            peer.close()
            await client.close()


async def test_an_interrupt_of_the_program_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with Peer(answering(b"INSERTED 1\r\n")) as peer, client_of(peer) as client:
        connection = client.connection
        assert connection is not None
        connection.interrupted(KeyboardInterrupt())
        await until(lambda: client.connection not in (None, connection))
        assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
