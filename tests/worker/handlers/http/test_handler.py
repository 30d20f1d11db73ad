"""Jobs as requests: what is sent, and what becomes of it, against servers on loopback."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from beanstalkt.worker.config.loading import ConfigError
from beanstalkt.worker.handlers.base import CannotStart
from beanstalkt.worker.policy.decision import BURY, RELEASE
from beanstalkt.worker.policy.outcome import Kind, Outcome

from ....support.beanstalkd import free_port
from ....support.http_handlers import handling, post, tls, tube
from ....support.webserver import head, scripted, serving
from ....support.work import make_work


async def request(url: str, said: dict[str, Any], **options: str) -> Outcome:
    """Run a job that asks for something at `url`, where everything is allowed."""
    async with handling(http_job="yes", **{"allow": url, **options}) as handler:
        return await handler.run(make_work(json.dumps({"url": url, **said}).encode()))


# --- the configuration -----------------------------------------------------------------------


def test_http_has_its_own_defaults() -> None:
    policy = tube(http="http://h/").policy
    assert (policy.on_temporary_fail, policy.max_attempts) == (RELEASE, 5)
    policy = tube(http="http://h/", max_attempts="7", on_temporary_fail="bury").policy
    assert (policy.on_temporary_fail, policy.max_attempts) == (BURY, 7)


WRONG = [
    ({"http": "app.example.com"}, "http://"),
    ({"http": "http://user:password@h/"}, "user or password"),
    ({"http": "http://h/a b"}, "spaces"),
    ({"http": "http://h/", "http_job": "yes", "allow": "http://h/"}, "both http and http_job"),
    ({"http": "http://h/", "command": "true"}, "cannot have"),
    ({"http": "http://h/", "allow": "http://h/"}, "go with http_job"),
    ({"http": "http://h/", "allow_private": "h"}, "go with http_job"),
    ({"http_job": "yes"}, "needs allow"),
    ({"http_job": "yes", "allow": ""}, "needs allow"),
    ({"http_job": "no"}, "http_job is no"),
    ({"http_job": "perhaps", "allow": "http://h/"}, "yes or no"),
    ({"http_job": "yes", "allow": "http://h/ h2"}, "http://"),
    ({"http_job": "yes", "allow": "http://h/?a=1"}, "no query"),
    ({"http_job": "yes", "allow": "http://h/../"}, "no . or .."),
    ({"http_job": "yes", "allow": "http://127.1/"}, "4 octets"),
    (
        {"http_job": "yes", "allow": "http://h/", "allow_private": "http://h/"},
        "not the name of a host",
    ),
    ({"http": "http://h/", "auth": "secret"}, "basic:FILE or bearer:FILE"),
    ({"http": "http://h/", "success": "3xx"}, "200, 2xx"),
    ({"http": "http://h/", "compat": "yes"}, "sqsd"),
    ({"http": "http://h/", "content_type": "a\r\nX: y"}, "printable ASCII"),
    ({"http": "http://h/", "content_type": "é"}, "printable ASCII"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_a_wrong_configuration_is_told(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tube(**options)


def test_what_is_run_is_told_without_what_is_nobody_s_business() -> None:
    assert tube(http="http://h/a?key=1").make_handler().describe() == "POST to http://h/a"
    handler = tube(http_job="yes", allow="http://h/a https://i").make_handler()
    assert handler.describe() == "requests under http://h/a https://i/"


def test_a_missing_file_is_told_at_the_start(tmp_path: Path) -> None:
    handler = tube(http="http://h/", auth=f"basic:{tmp_path}/x").make_handler()
    with pytest.raises(CannotStart, match="cannot read"):
        handler.check()


def test_a_missing_library_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = tube(http="http://h/").make_handler()
    handler.check()
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(CannotStart, match=r"beanstalkt\[http\]"):
        handler.check()


# --- what is sent ----------------------------------------------------------------------------


async def sent(outcome_of: Any, web: Any) -> HTTPServerRequest:
    assert (await outcome_of).kind is Kind.SUCCESS
    (found,) = web.requests
    assert isinstance(found, HTTPServerRequest)
    return found


@pytest.mark.parametrize("body", [b"", b"\0", bytes(range(256)), b"x" * 1_000_000])
async def test_the_body_is_posted_as_it_is(body: bytes) -> None:
    async with serving() as web:
        seen = await sent(post(web.url + "/in?a=1", body), web)
    assert (seen.method, seen.uri, seen.body) == ("POST", "/in?a=1", body)
    assert seen.headers["Content-Length"] == str(len(body))


async def test_the_headers_say_what_the_job_is_and_nothing_else() -> None:
    async with serving() as web:
        seen = await sent(post(web.url, b"{}"), web)
    assert dict(seen.headers) == {
        "Host": seen.host,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Content-Length": "2",
        "Content-Type": "application/json",
        "User-Agent": "beanstalkt",
        "X-Beanstalkt-Job-Id": "7",
        "X-Beanstalkt-Tube": "mail",
        "X-Beanstalkt-Attempt": "2",
        "X-Beanstalkt-Reserves": "2",
        "X-Beanstalkt-Timeouts": "1",
        "X-Beanstalkt-Age": "3",
        "X-Beanstalkt-Ttr": "60",
    }


async def test_the_content_type_is_configured() -> None:
    async with serving() as web:
        seen = await sent(post(web.url, b"a,b", content_type="text/csv"), web)
    assert seen.headers["Content-Type"] == "text/csv"


async def test_an_application_written_for_the_daemon_knows_us() -> None:
    async with serving() as web:
        seen = await sent(post(web.url, compat="sqsd"), web)
    assert seen.headers["User-Agent"].startswith("aws-sqsd/")
    assert seen.headers["X-Aws-Sqsd-Msgid"] == "7"
    assert seen.headers["X-Aws-Sqsd-Queue"] == "mail"
    assert seen.headers["X-Aws-Sqsd-Receive-Count"] == "2"
    assert seen.headers["X-Aws-Sqsd-First-Received-At"].endswith("Z")


async def test_the_job_says_which_request_to_make() -> None:
    said = {
        "http_method": "put",
        "body": "héllo",
        "headers": {"X-Order": "7", "content-type": "text/plain", "User-Agent": "shop"},
    }
    async with serving() as web:
        seen = await sent(request(web.url + "/a?b=c", said, allow=web.url), web)
    assert (seen.method, seen.uri, seen.body) == ("PUT", "/a?b=c", "héllo".encode())
    assert seen.headers["X-Order"] == "7"
    assert seen.headers.get_list("Content-Type") == ["text/plain"]
    assert seen.headers["User-Agent"] == "shop"
    assert seen.headers["X-Beanstalkt-Job-Id"] == "7"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
async def test_a_request_without_a_body_has_none(method: str) -> None:
    async with serving() as web:
        seen = await sent(request(web.url, {"http_method": method}), web)
    assert (seen.method, seen.body) == (method, b"")
    assert "Content-Type" not in seen.headers


async def test_a_job_is_no_daemon() -> None:
    async with serving() as web:
        said = {"headers": {"user-agent": "shop", "User_Agent": "shop"}}
        seen = await sent(request(web.url, said, compat="sqsd"), web)
    assert seen.headers.get_list("User-Agent") == ["aws-sqsd/2.0"]
    assert "User_Agent" not in seen.headers


async def test_credentials_come_from_their_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("user:password\n")
    (tmp_path / "token").write_text("abc\n")
    async with serving() as web:
        assert (await post(web.url, auth=f"basic:{tmp_path}/secret")).kind is Kind.SUCCESS
        outcome = await request(web.url, {}, auth=f"bearer:{tmp_path}/token")
        assert outcome.kind is Kind.SUCCESS
    given = [seen.headers["Authorization"] for seen in web.requests]
    assert given == ["Basic dXNlcjpwYXNzd29yZA==", "Bearer abc"]


async def test_without_its_credentials_nothing_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("abc")
    async with serving() as web, handling(http=web.url, auth=f"bearer:{file}") as handler:
        file.unlink()
        outcome = await handler.run(make_work())
        assert (outcome.kind, web.requests) == (Kind.NOT_STARTED, [])
        assert str(file) in outcome.error


async def test_the_environment_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither a proxy nor ~/.netrc."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    proxy = f"http://127.0.0.1:{free_port()}"
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    async with serving() as web:
        seen = await sent(post(web.url), web)
    assert "Authorization" not in seen.headers


async def test_an_answer_s_cookie_is_not_sent_with_the_next_job() -> None:
    async with (
        serving(lambda handler: handler.set_cookie("session", "x")) as web,
        handling(http=web.url) as handler,
    ):
        for _ in range(2):
            assert (await handler.run(make_work())).kind is Kind.SUCCESS
    assert not any("Cookie" in seen.headers for seen in web.requests)


# --- what the answers mean -------------------------------------------------------------------


def status(code: int, body: str = "", **headers: str) -> Any:
    def answer(handler: RequestHandler) -> None:
        handler.set_status(code)
        for name, text in headers.items():
            handler.set_header(name.replace("_", "-"), text)
        if body:
            handler.write(body)

    return answer


STATUSES = {200: Kind.SUCCESS, 429: Kind.TEMPORARY_FAIL, 503: Kind.TEMPORARY_FAIL}
STATUSES |= dict.fromkeys((201, 204, 304, 400, 401, 404, 500, 502, 504), Kind.PERMANENT_FAIL)


@pytest.mark.parametrize(("code", "kind"), STATUSES.items())
async def test_the_status_decides(code: int, kind: Kind) -> None:
    async with serving(status(code)) as web:
        outcome = await post(web.url)
    assert (outcome.kind, outcome.details["status"]) == (kind, code)


async def test_success_can_be_wider() -> None:
    async with serving(status(204)) as web:
        assert (await post(web.url, success="2xx")).kind is Kind.SUCCESS


async def test_the_answer_goes_to_the_log() -> None:
    async with serving(status(200, "sent 5 mails\n\x1b[31mall well\nmore")) as web:
        outcome = await post(web.url)
    assert outcome.details == {"status": 200, "answer": "sent 5 mails\n\\x1b[31mall well"}
    async with serving(status(404, "no such user")) as web:
        outcome = await request(web.url + "/x?key=1", {}, allow=web.url)
    assert outcome.error == "status 404 Not Found"
    assert outcome.details == {"url": f"{web.url}/x", "status": 404, "answer": "no such user"}


async def test_retry_after_is_the_delay() -> None:
    async with serving(status(503, Retry_After="7")) as web:
        assert (await post(web.url)).delay == 7
    async with serving(status(429, Retry_After="Mon, 01 Jan 1990 00:00:00 GMT")) as web:
        assert (await post(web.url)).delay == 0
    async with serving(status(503)) as web:
        assert (await post(web.url)).delay is None


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(code: int) -> None:
    async with serving(status(code, Location="/elsewhere")) as web:
        outcome = await post(web.url)
        assert (outcome.kind, len(web.requests)) == (Kind.PERMANENT_FAIL, 1)
        outcome = await request(web.url, {"http_method": "GET"})
        assert (outcome.kind, len(web.requests)) == (Kind.PERMANENT_FAIL, 2)


async def test_a_compressed_answer_is_not_unpacked() -> None:
    def bomb(handler: RequestHandler) -> None:
        handler.set_header("Content-Encoding", "gzip")
        handler.write(b"\x1f\x8b no gzip")

    async with serving(bomb) as web:
        outcome = await post(web.url)
    assert (outcome.kind, outcome.details["answer"]) == (Kind.SUCCESS, "\ufffd no gzip")


# --- connections -----------------------------------------------------------------------------


async def test_as_many_requests_at_once_as_there_are_slots() -> None:
    everybody = asyncio.Event()

    async def wait(_: RequestHandler) -> None:
        if web.now == 40:
            everybody.set()
        await everybody.wait()

    async with serving(wait) as web, handling(http=web.url) as handler:
        outcomes = await asyncio.gather(*(handler.run(make_work()) for _ in range(40)))
    assert {outcome.kind for outcome in outcomes} == {Kind.SUCCESS}
    assert web.most == 40


async def test_a_connection_is_used_again() -> None:
    async with (
        serving(status(503, "x" * 1_000_000)) as web,
        handling(http=web.url) as handler,
    ):
        for _ in range(5):
            await handler.run(make_work())
        assert (len(web.requests), len(web.connections)) == (5, 1)


async def test_nobody_listens() -> None:
    outcome = await post(f"http://127.0.0.1:{free_port()}/")
    assert outcome.kind is Kind.TEMPORARY_FAIL
    assert "127.0.0.1" in outcome.error


async def test_a_name_that_leads_nowhere() -> None:
    outcome = await post("http://no-such-host.invalid/")
    assert outcome.kind is Kind.TEMPORARY_FAIL
    assert "no-such-host.invalid" in outcome.error


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """One that is trusted."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return ca


async def test_https(authority: trustme.CA) -> None:
    async with serving(tls=tls(authority, "127.0.0.1")) as web:
        assert (await post(web.url, b"x")).kind is Kind.SUCCESS
        assert (await request(web.url, {})).kind is Kind.SUCCESS


@pytest.mark.parametrize("name", ["127.0.0.1", "example.com"], ids=["stranger", "other name"])
async def test_a_certificate_is_verified(
    authority: trustme.CA, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    ca = trustme.CA() if name == "127.0.0.1" else authority
    async with serving(tls=tls(ca, name)) as web:
        outcome = await post(web.url)
    assert (outcome.kind, web.requests) == (Kind.TEMPORARY_FAIL, [])
    assert "certificate" in outcome.error


# --- servers that do not behave --------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"


def after(data: bytes) -> Any:
    """A server that reads a request, sends this and closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(data)
        await writer.drain()

    return script


CUT = [
    b"",
    b"HTTP/1.",
    OK,
    OK + b"Content-Length: 10\r\n",
    OK + b"Content-Length: 10\r\n\r\n12345",
    OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"garbage\r\n\r\n",
    b"\x15\x03\x01\x00\x02\x02\x46",
    OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
    OK + b"".join(b"X-%d: x\r\n" % number for number in range(100_000)) + b"\r\n",
    b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 9999 x\r\n\r\n",
]


@pytest.mark.parametrize("data", CUT, ids=range(len(CUT)))
async def test_an_answer_that_is_none_is_a_lost_connection(data: bytes) -> None:
    async with scripted(after(data)) as url:
        outcome = await post(url, b"x")
    assert outcome.kind is Kind.TEMPORARY_FAIL
    assert outcome.error
    assert len(outcome.error) < 2000


async def test_what_is_wrong_is_said_without_the_query() -> None:
    async with scripted(after(b"garbage\r\n\r\n")) as url:
        outcome = await post(f"{url}/?key=secret")
        assert "secret" not in outcome.error
        outcome = await post(f"http://127.0.0.1:{free_port()}/?key=secret")
        assert "secret" not in outcome.error


async def test_a_connection_that_becomes_something_else_is_closed() -> None:
    over = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello")
        await reader.read()
        over.set()

    async with scripted(script) as url, handling(http=url) as handler:
        outcome = await asyncio.wait_for(handler.run(make_work()), 5)
        assert outcome.kind is Kind.PERMANENT_FAIL
        await asyncio.wait_for(over.wait(), 5)


async def test_a_connection_that_is_reset_in_the_answer() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(OK + b"Content-Length: 10\r\n\r\n12345")
        await writer.drain()
        writer.transport.abort()

    async with scripted(script) as url:
        outcome = await post(url)
    assert outcome.kind is Kind.TEMPORARY_FAIL
    assert outcome.details["status"] == 200


async def test_an_answer_up_to_the_end_of_the_connection() -> None:
    async with scripted(after(OK + b"Connection: close\r\n\r\ndone")) as url:
        outcome = await post(url)
    assert outcome.details == {"status": 200, "answer": "done"}


async def test_informational_answers_are_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with scripted(after(early * 3 + OK + b"Content-Length: 0\r\n\r\n")) as url:
        assert (await post(url)).kind is Kind.SUCCESS


async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await head(reader)
    await reader.read()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await head(reader)
    writer.write(OK)
    while not (reader.at_eof() or writer.is_closing()):
        writer.write(b"X: y\r\n")
        await asyncio.sleep(0.01)


async def drip_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await head(reader)
    writer.write(OK + b"Content-Length: 1000000\r\n\r\n")
    while not (reader.at_eof() or writer.is_closing()):
        writer.write(b"x")
        await asyncio.sleep(0.01)


async def never_ready(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await head(reader)
    while not (reader.at_eof() or writer.is_closing()):
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(0.01)


SLOW = [stall, drip_the_body, never_ready]


@pytest.mark.parametrize("script", SLOW)
async def test_all_of_it_must_be_done_in_time(script: Any) -> None:
    async with scripted(script) as url:
        outcome = await request(url, {"timeout_secs": 0.3})
    assert outcome.kind is Kind.TEMPORARY_FAIL
    assert "timed out after 0.3 s" in outcome.error


@pytest.mark.parametrize("script", [*SLOW, drip])
async def test_when_told_to_stop_it_lets_go_at_once(script: Any) -> None:
    gone = asyncio.Event()

    async def watched(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        try:
            await script(reader, writer)
        finally:
            gone.set()

    begun = asyncio.Event()
    async with scripted(watched) as url, handling(http=url) as handler:
        task = asyncio.create_task(handler.run(make_work()))
        await begun.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        outcome = await asyncio.wait_for(task, 5)
        await asyncio.wait_for(gone.wait(), 5)
    assert (outcome.kind, outcome.error) == (Kind.TEMPORARY_FAIL, "no response had come yet")


async def test_a_server_that_does_not_take_the_request() -> None:
    """A large body, of which nothing is read."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with scripted(script) as url:
        outcome = await request(url, {"timeout_secs": 0.3, "body": "x" * 20_000_000})
    assert outcome.kind is Kind.TEMPORARY_FAIL


@pytest.mark.parametrize("code", [200, 404])
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 10000000000", b"Transfer-Encoding: chunked"]
)
async def test_an_answer_of_10_gb_is_not_read(code: int, framing: bytes) -> None:
    written = 0
    over = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await head(reader)
        writer.write(b"HTTP/1.1 %d X\r\n%b\r\n\r\n" % (code, framing))
        piece = b"first\nsecond\nthird\n" + b"x" * 99_981
        if framing.endswith(b"chunked"):
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        try:
            while written < 10_000_000_000:
                writer.write(piece)
                written += len(piece)
                await writer.drain()
        finally:
            over.set()

    async with scripted(script) as url:
        outcome = await post(url)
        await asyncio.wait_for(over.wait(), 10)
    expected = Kind.SUCCESS if code == 200 else Kind.PERMANENT_FAIL
    assert (outcome.kind, outcome.details["answer"]) == (expected, "first\nsecond")
    # What the sockets hold comes on top of the 1 MB that is read.
    assert written < 30_000_000


# --- jobs that ask for what they must not ----------------------------------------------------


async def test_a_job_outside_is_a_permanent_fail() -> None:
    async with serving() as web, serving() as other:
        for url in (
            web.url + "/admin",
            web.url + "/tasks/../admin",
            web.url + "/tasks/%2e%2e/admin",
            web.url + "/tasks-admin",
            other.url + "/tasks/",
            web.url.replace("127.0.0.1", "localhost") + "/tasks/",
            web.url.replace("http", "https") + "/tasks/",
        ):
            outcome = await request(web.url, {"url": url}, allow=web.url + "/tasks")
            assert outcome.kind is Kind.PERMANENT_FAIL, url
            assert outcome.error
        assert web.requests == other.requests == []
        outcome = await request(web.url, {"url": web.url + "/tasks/x"}, allow=web.url + "/tasks")
        assert outcome.kind is Kind.SUCCESS


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b'{"url": 5}', b'{"url": "http://h/\\r"}'])
async def test_a_job_that_cannot_be_read_is_a_permanent_fail(body: bytes) -> None:
    async with handling(http_job="yes", allow="http://127.0.0.1:1/") as handler:
        outcome = await handler.run(make_work(body))
    assert outcome.kind is Kind.PERMANENT_FAIL
    assert outcome.error


async def test_a_job_cannot_bring_its_own_credentials() -> None:
    async with serving() as web:
        outcome = await request(web.url, {"headers": {"Authorization": "Basic x"}})
        assert (outcome.kind, web.requests) == (Kind.PERMANENT_FAIL, [])
