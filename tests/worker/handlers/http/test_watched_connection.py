"""No job is judged by another one's answer, whatever a web server sends and whenever it does."""

from __future__ import annotations

import asyncio
import logging
import re
import select
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import TCPConnector
from aiohttp.connector import Connection

from beanstalkt.worker.handlers.http import watched_connection
from beanstalkt.worker.handlers.http.client import MAX_KEPT_BODY
from beanstalkt.worker.handlers.http.watched_connection import MAX_HEAD, MAX_REQUESTS, Watch
from beanstalkt.worker.policy.outcome import Kind, Outcome

from ....support.http_handlers import handling, post, tls
from ....support.webserver import head, listening, scripted
from ....support.work import make_work

GOOD, BAD = b"good", b"bad"  # bodies of jobs: their answers are 200 and 500
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
TRUTH = {
    GOOD: b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone",
    BAD: b"HTTP/1.1 500 No\r\nContent-Length: 6\r\n\r\nfailed",
}
KINDS = {GOOD: Kind.SUCCESS, BAD: Kind.PERMANENT_FAIL}

Answering = Callable[["Line", bytes], Awaitable[None]]


class Line:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.requests = 0
        self.over = asyncio.Event()

    async def request(self) -> bytes:
        """The body of the next request."""
        lines = await head(self.reader)
        found = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)", lines)
        body = await self.reader.readexactly(int(found[1]) if found else 0)
        self.requests += 1
        return body

    def send(self, data: bytes) -> None:
        self.writer.write(data)


class Server:
    """Calls `answering` for each request, with its connection and body."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.lines: list[Line] = []
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer)
        self.lines.append(line)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            # Cancelled at the end of the test: asyncio's own streams would report that.
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    await self._answering(line, await line.request())
        finally:
            line.over.set()
            writer.close()
            self._tasks.discard(task)

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def server(
    answering: Answering, context: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    serving = Server(answering)
    listener = await asyncio.start_server(serving.serve, sock=listening(), ssl=context)
    port = listener.sockets[0].getsockname()[1]
    serving.url = f"http{'s' if context else ''}://127.0.0.1:{port}"
    try:
        yield serving
    finally:
        listener.close()
        await serving.end()


async def truth(line: Line, body: bytes) -> None:
    line.send(TRUTH[body])


@pytest.fixture
def watches(monkeypatch: pytest.MonkeyPatch) -> list[Watch]:
    """The watch of each connection that a client makes."""
    made: list[Watch] = []
    init = Watch.__init__

    def note(self: Watch, connection: Connection) -> None:
        init(self, connection)
        made.append(self)

    monkeypatch.setattr(Watch, "__init__", note)
    return made


async def surprise(line: Line, watch: Watch, data: bytes, read: bool) -> None:
    """Send data that no request asked for, and wait until the client has read it, or could."""
    line.send(data)
    if read:
        await asyncio.wait_for(line.over.wait(), 10)
    else:
        client = watch._transport.get_extra_info("socket")
        assert select.select([client], [], [], 10)[0]


def assert_never_wrong(outcome: Outcome, body: bytes) -> None:
    """It may be tried again; it may not be judged by what is not its answer."""
    assert outcome.kind in (KINDS[body], Kind.TEMPORARY_FAIL), (outcome, body)


SURPLUS = {
    "an answer": OK,
    "two": OK * 2,
    "one with a body": TRUTH[GOOD],
    "half an answer": OK[:20],
    "the beginning of one": b"H",
    "an answer and a half": OK + OK[:20],
    "headers without their body": TRUTH[GOOD][:-4],
    "an informational one": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    "a body that is longer than it says": b"more",
    "a body that looks like an answer": b"more\r\n\r\n" + OK,
    "a chunk": b"4\r\nmore\r\n0\r\n\r\n",
    "an empty line and an answer": b"\r\n\r\n" + OK,
    "an empty line": b"\r\n",
}
FRAMINGS = {
    "length": (b"Content-Length: 4", b"done"),
    "chunks": (b"Transfer-Encoding: chunked", b"4\r\ndone\r\n0\r\n\r\n"),
    "trailer": (b"Transfer-Encoding: chunked", b"4\r\ndone\r\n0\r\nX: y\r\n\r\n"),
    "empty": (b"Content-Length: 0", b""),
    "HTTP/1.0": (b"Connection: keep-alive\r\nContent-Length: 4", b"done"),
}


def framed(framing: str, body: bytes) -> tuple[bytes, bytes]:
    """Headers and body of the right answer."""
    fields, content = FRAMINGS[framing]
    version = b"HTTP/1.0" if framing == "HTTP/1.0" else b"HTTP/1.1"
    status = b"200 OK" if body == GOOD else b"500 No"
    return b"%b %b\r\n%b\r\n\r\n" % (version, status, fields), content


@pytest.mark.parametrize("surplus", SURPLUS.values(), ids=SURPLUS)
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_what_comes_with_an_answer_is_not_the_next_one(framing: str, surplus: bytes) -> None:
    """Whole, or in two pieces of which the second has the answer's end."""

    async def answering(line: Line, body: bytes) -> None:
        headers, content = framed(framing, body)
        data = headers + content + surplus
        if body == GOOD:
            line.send(data[: cuts[0]])
            # Read apart: the client takes it in when the loop has turned.
            for _ in range(3):
                await asyncio.sleep(0)
            line.send(data[cuts[0] :])
        else:
            line.send(headers + content)

    async with server(answering) as serving, handling(http=serving.url) as handler:
        whole = len(b"".join(framed(framing, GOOD)))
        cuts = [1, whole - len(FRAMINGS[framing][1]) - 1, whole - 1, 1000]
        while cuts:
            for body in (GOOD, BAD, GOOD, BAD, BAD):
                assert_never_wrong(await handler.run(make_work(body)), body)
            cuts.pop(0)


@pytest.mark.parametrize("surplus", SURPLUS.values(), ids=SURPLUS)
@pytest.mark.parametrize("read", [True, False], ids=["read", "unread"])
async def test_what_comes_between_two_requests_is_no_answer(
    surplus: bytes, read: bool, watches: list[Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the very moment in which the next request is about to leave."""
    monkeypatch.setattr(watched_connection, "REST_DELAY", 0)
    async with server(truth) as serving, handling(http=serving.url) as handler:
        assert (await handler.run(make_work(GOOD))).kind is Kind.SUCCESS
        await surprise(serving.lines[0], watches[0], surplus, read)
        # What was not sent is sent again by itself: nothing fails.
        assert (await handler.run(make_work(BAD))).kind is Kind.PERMANENT_FAIL
        assert (await handler.run(make_work(GOOD))).kind is Kind.SUCCESS
        assert [line.requests for line in serving.lines] == [1, 2]


@pytest.mark.parametrize("cut", range(1, len(OK), 5))
async def test_an_answer_too_many_in_two_halves(cut: int) -> None:
    """The first with the answer before, the second between the requests."""

    async def answering(line: Line, body: bytes) -> None:
        line.send(TRUTH[body] + OK[:cut] * (body == GOOD))

    async with server(answering) as serving, handling(http=serving.url) as handler:
        assert (await handler.run(make_work(GOOD))).kind is Kind.SUCCESS
        serving.lines[0].send(OK[cut:])
        assert (await handler.run(make_work(BAD))).kind is Kind.PERMANENT_FAIL


async def test_what_follows_an_answer_is_given_the_time_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next request waits for a moment, since what is on its way cannot be seen."""
    monkeypatch.setattr(watched_connection, "REST_DELAY", 0.5)

    async def answering(line: Line, body: bytes) -> None:
        line.send(TRUTH[body])
        for _ in range(10):
            await asyncio.sleep(0)
        line.send(OK)

    async with server(answering) as serving, handling(http=serving.url) as handler:
        assert (await handler.run(make_work(GOOD))).kind is Kind.SUCCESS
        assert (await handler.run(make_work(BAD))).kind is Kind.PERMANENT_FAIL


async def test_half_an_answer_whose_rest_comes_after_the_next_request() -> None:
    """The rest alone would be a whole answer."""
    first = b"HTTP/1.1 200 OK\r\nX: "

    async def answering(line: Line, body: bytes) -> None:
        if line.requests == 1:
            line.send(TRUTH[body] + first)
        else:
            line.send(OK)

    async with server(answering) as serving, handling(http=serving.url) as handler:
        assert (await handler.run(make_work(GOOD))).kind is Kind.SUCCESS
        outcome = await handler.run(make_work(BAD))
        assert (outcome.kind, outcome.details["status"]) == (Kind.PERMANENT_FAIL, 500)


@pytest.mark.parametrize("code", [204, 304])
async def test_a_body_where_there_can_be_none(code: int) -> None:
    async def answering(line: Line, body: bytes) -> None:
        line.send(TRUTH[BAD] if body == BAD else b"HTTP/1.1 %d X\r\n\r\n%b" % (code, OK))

    async with server(answering) as serving, handling(http=serving.url) as handler:
        for _ in range(3):
            outcome = await handler.run(make_work(GOOD))
            assert outcome.details.get("status", code) == code
            assert_never_wrong(await handler.run(make_work(BAD)), BAD)


@pytest.mark.parametrize("with_it", [True, False])
async def test_an_answer_to_head_that_has_a_body(with_it: bool) -> None:
    headers = b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n" % len(OK)

    async def answering(line: Line, body: bytes) -> None:
        line.send(headers)
        if with_it:
            line.send(OK)

    async with server(answering) as serving:
        url = serving.url
        async with handling(http_job="yes", allow=url) as handler:
            work = make_work(b'{"http_method": "HEAD", "url": "%b"}' % url.encode())
            for _ in range(3):
                outcome = await handler.run(work)
                assert outcome.kind is not Kind.SUCCESS
        assert (len(serving.lines) == 1) == (not with_it)


async def test_with_as_many_at_once_as_there_are_slots() -> None:
    """Answers too many now and then, and each job has its own."""

    async def answering(line: Line, body: bytes) -> None:
        fifth = sum(line.requests for line in serving.lines) % 5 == 0
        line.send(TRUTH[body] + OK * 2 * fifth)

    async def slot() -> None:
        for number in range(60):
            body = BAD if number % 3 else GOOD
            assert_never_wrong(await handler.run(make_work(body)), body)

    async with server(answering) as serving, handling(http=serving.url) as handler:
        await asyncio.gather(*(slot() for _ in range(8)))
        # It keeps those that behave.
        assert len(serving.lines) < 8 * 60 / 2


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return ca


@pytest.mark.parametrize("read", [True, False], ids=["read", "unread"])
async def test_over_tls(
    authority: trustme.CA, read: bool, watches: list[Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_connection, "REST_DELAY", 0)
    async with (
        server(truth, tls(authority, "127.0.0.1")) as serving,
        handling(http=serving.url) as handler,
    ):
        for _ in range(3):
            assert (await handler.run(make_work(GOOD))).kind is Kind.SUCCESS
        assert len(serving.lines) == 1
        await surprise(serving.lines[0], watches[0], OK, read)
        assert (await handler.run(make_work(BAD))).kind is Kind.PERMANENT_FAIL
        assert [line.requests for line in serving.lines] == [3, 1]


@pytest.mark.parametrize("read", [True, False], ids=["read", "unread"])
@pytest.mark.parametrize("data", [OK, OK[:20], b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"])
@pytest.mark.parametrize("body", [b"", GOOD, b"x" * 2_000_000], ids=["empty", "small", "large"])
async def test_an_answer_before_the_request_is_none(
    body: bytes, data: bytes, read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    greeted = asyncio.Event()
    connect = TCPConnector.connect

    async def late(self: TCPConnector, *args: Any) -> Connection:
        connection = await connect(self, *args)
        await greeted.wait()
        for _ in range(5 * read):
            await asyncio.sleep(0)
        return connection

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        greeted.set()
        came.append(await reader.read())

    came: list[bytes] = []
    monkeypatch.setattr(TCPConnector, "connect", late)
    async with scripted(greet) as url:
        outcome = await post(url, body)
    assert outcome.kind is Kind.TEMPORARY_FAIL
    assert "before the request" in outcome.error
    assert not any(came)


async def test_an_answer_before_the_whole_request_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = asyncio.Event()
    begin = Watch.begin

    def narrow(self: Watch) -> None:
        begin(self)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        if serving.lines and serving.lines[0].requests:
            begun.set()

    async def answering(line: Line, body: bytes) -> None:
        line.send(TRUTH[body])
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]

    monkeypatch.setattr(Watch, "begin", narrow)
    async with server(answering) as serving, handling(http=serving.url) as handler:
        assert (await handler.run(make_work(GOOD))).kind is Kind.SUCCESS
        running = asyncio.create_task(handler.run(make_work(bytes(MAX_KEPT_BODY))))
        await begun.wait()
        await asyncio.sleep(0)
        serving.lines[0].send(OK)
        outcome = await running
    assert outcome.kind is Kind.TEMPORARY_FAIL
    assert "before it had the whole request" in outcome.error


# --- which connections are kept --------------------------------------------------------------


async def connections_of(answering: Answering, bodies: list[bytes], **options: str) -> list[int]:
    """How many requests each connection had."""
    async with server(answering) as serving:
        async with handling(http=serving.url, **options) as handler:
            for body in bodies:
                assert (await handler.run(make_work(body))).kind is KINDS.get(body, Kind.SUCCESS)
        return [line.requests for line in serving.lines]


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_those_that_behave(framing: str) -> None:
    async def answering(line: Line, body: bytes) -> None:
        for piece in framed(framing, body):
            line.send(piece)
            await asyncio.sleep(0)

    # After a trailer it is not known where the answer should have ended, but where it did.
    assert await connections_of(answering, [GOOD, BAD] * 5) == [10]


async def test_headers_in_pieces() -> None:
    async def answering(line: Line, body: bytes) -> None:
        answer = TRUTH[body]
        for end in range(len(answer)):
            line.send(answer[end : end + 1])
            await asyncio.sleep(0)

    assert await connections_of(answering, [GOOD, BAD] * 3) == [6]


async def test_after_long_headers_none_is_kept() -> None:
    async def answering(line: Line, body: bytes) -> None:
        field = b"X: " + b"x" * 5000 + b"\r\n"
        first, rest = TRUTH[body].split(b"\r\n", 1)
        for piece in (first + b"\r\n", *[field] * (MAX_HEAD // 5000 + 1), rest):
            line.send(piece)
            await asyncio.sleep(0.01)

    assert await connections_of(answering, [GOOD, GOOD]) == [1, 1]


async def test_none_is_used_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await connections_of(truth, [GOOD] * (2 * MAX_REQUESTS + 1)) == [100, 100, 1]
    monkeypatch.setattr(watched_connection, "MAX_AGE", 0)
    assert await connections_of(truth, [GOOD] * 3) == [1, 1, 1]


async def test_a_large_request_has_a_connection_of_its_own() -> None:
    async def answering(line: Line, body: bytes) -> None:
        line.send(OK)

    bodies = [b"", b"x" * MAX_KEPT_BODY, b"x" * (MAX_KEPT_BODY + 1), b""]
    assert await connections_of(answering, bodies) == [3, 1]


async def test_without_keep_alive_each_request_has_one() -> None:
    """Whenever an answer too many comes, it is nobody's."""
    heads = []

    async def answering(line: Line, body: bytes) -> None:
        line.send(TRUTH[body])
        with suppress(asyncio.IncompleteReadError):
            heads.append(await line.request())
        line.send(OK)

    assert await connections_of(answering, [GOOD, BAD, BAD], keep_alive="no") == [1, 1, 1]
    assert heads == []


async def test_one_that_the_server_closed_is_not_used() -> None:
    """Though the client has not noticed yet: the request goes over a new one, without a fail."""
    async with server(truth) as serving, handling(http=serving.url) as handler:
        for _ in range(5):
            assert (await handler.run(make_work(GOOD))).kind is Kind.SUCCESS
            serving.lines[-1].writer.transport.abort()
            await asyncio.sleep(0)
        assert [line.requests for line in serving.lines] == [1] * 5


async def test_what_nobody_asked_for_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with server(truth) as serving, handling(http=serving.url) as handler:
        await handler.run(make_work(GOOD))
        serving.lines[0].send(OK)
        await asyncio.wait_for(serving.lines[0].over.wait(), 10)
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    port = serving.url.rpartition(":")[2]
    assert record.getMessage().startswith(f"the web server at 127.0.0.1:{port} sent something")
    assert "keep_alive = no" in record.getMessage()
